//! The tables of an installer's database: their columns, and what may be in them. Source: the
//! Windows Installer's own schema, as its documentation has it table by table.

/// A table that an installer has.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Key columns come first.
    pub(super) columns: &'static [Column],
}

/// A column, and what `_Validation` says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) key: bool,
    pub(super) nullable: bool,
    /// Least and greatest number.
    pub(super) range: Option<(i32, i32)>,
    /// Tables whose first column has the values of this one.
    pub(super) refers_to: Option<&'static str>,
    pub(super) category: Option<&'static str>,
    /// All values that there are.
    pub(super) set: Option<&'static str>,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many characters; 0: any number.
    Text(u8),
    /// The same, in the reader's language.
    Localized(u8),
    Short,
    Long,
    /// Bytes in a stream of their own, which is called by table and key.
    Stream,
}

impl Column {
    const fn new(name: &'static str, kind: Kind) -> Self {
        let (range, refers_to, category, set) = (None, None, None, None);
        Self { name, kind, key: false, nullable: false, range, refers_to, category, set }
    }

    const fn key(mut self) -> Self {
        self.key = true;
        self
    }

    const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    const fn within(mut self, least: i32, greatest: i32) -> Self {
        self.range = Some((least, greatest));
        self
    }

    const fn of(mut self, tables: &'static str) -> Self {
        self.refers_to = Some(tables);
        self
    }

    const fn one_of(mut self, set: &'static str) -> Self {
        self.set = Some(set);
        self
    }
}

const fn text(name: &'static str, length: u8, category: &'static str) -> Column {
    let mut column = Column::new(name, Kind::Text(length));
    column.category = Some(category);
    column
}

const fn localized(name: &'static str, length: u8, category: &'static str) -> Column {
    let mut column = Column::new(name, Kind::Localized(length));
    column.category = Some(category);
    column
}

const fn id(name: &'static str) -> Column {
    text(name, 72, "Identifier")
}

const fn short(name: &'static str) -> Column {
    Column::new(name, Kind::Short)
}

const fn long(name: &'static str) -> Column {
    Column::new(name, Kind::Long)
}

const fn component() -> Column {
    id("Component_").of("Component")
}

const ACTIONS: &[Column] = &[
    id("Action").key(),
    text("Condition", 255, "Condition").nullable(),
    short("Sequence").within(-4, 32_767).nullable(),
];

const ANY: (i32, i32) = (-i32::MAX, i32::MAX);

/// Every table that is written, in the order of their names.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "ActionText",
        columns: &[
            id("Action").key(),
            localized("Description", 64, "Text").nullable(),
            localized("Template", 128, "Template").nullable(),
        ],
    },
    Table { name: "AdminExecuteSequence", columns: ACTIONS },
    Table { name: "AdminUISequence", columns: ACTIONS },
    Table { name: "AdvtExecuteSequence", columns: ACTIONS },
    Table {
        name: "Component",
        columns: &[
            id("Component").key(),
            text("ComponentId", 38, "Guid").nullable(),
            id("Directory_").of("Directory"),
            short("Attributes"),
            text("Condition", 255, "Condition").nullable(),
            id("KeyPath").of("File;Registry;ODBCDataSource").nullable(),
        ],
    },
    Table {
        name: "CreateFolder",
        columns: &[id("Directory_").key().of("Directory"), component().key()],
    },
    Table {
        name: "CustomAction",
        columns: &[
            id("Action").key(),
            short("Type").within(1, 32_767),
            text("Source", 72, "CustomSource").nullable(),
            text("Target", 255, "Formatted").nullable(),
            long("ExtendedType").within(0, i32::MAX).nullable(),
        ],
    },
    Table {
        name: "Directory",
        columns: &[
            id("Directory").key(),
            id("Directory_Parent").of("Directory").nullable(),
            localized("DefaultDir", 255, "DefaultDir"),
        ],
    },
    Table {
        name: "Feature",
        columns: &[
            text("Feature", 38, "Identifier").key(),
            text("Feature_Parent", 38, "Identifier").of("Feature").nullable(),
            localized("Title", 64, "Text").nullable(),
            localized("Description", 255, "Text").nullable(),
            short("Display").within(0, 32_767).nullable(),
            short("Level").within(0, 32_767),
            text("Directory_", 72, "UpperCase").of("Directory").nullable(),
            short("Attributes").one_of(
                "0;1;2;4;5;6;8;9;10;16;17;18;20;21;22;24;25;26;32;33;34;36;37;38;48;49;50;52;53;54",
            ),
        ],
    },
    Table {
        name: "FeatureComponents",
        columns: &[text("Feature_", 38, "Identifier").key().of("Feature"), component().key()],
    },
    Table {
        name: "File",
        columns: &[
            id("File").key(),
            component(),
            localized("FileName", 255, "Filename"),
            long("FileSize").within(0, i32::MAX),
            text("Version", 72, "Version").of("File").nullable(),
            text("Language", 20, "Language").nullable(),
            short("Attributes").within(0, 32_767).nullable(),
            short("Sequence").within(1, 32_767),
        ],
    },
    Table {
        name: "Icon",
        columns: &[
            id("Name").key(),
            Column { category: Some("Binary"), ..Column::new("Data", Kind::Stream) },
        ],
    },
    Table { name: "InstallExecuteSequence", columns: ACTIONS },
    Table { name: "InstallUISequence", columns: ACTIONS },
    Table {
        name: "LaunchCondition",
        columns: &[
            text("Condition", 255, "Condition").key(),
            localized("Description", 255, "Formatted"),
        ],
    },
    Table {
        name: "Media",
        columns: &[
            short("DiskId").key().within(1, 32_767),
            short("LastSequence").within(0, 32_767),
            localized("DiskPrompt", 64, "Text").nullable(),
            text("Cabinet", 255, "Cabinet").nullable(),
            text("VolumeLabel", 32, "Text").nullable(),
            text("Source", 72, "Property").nullable(),
        ],
    },
    Table {
        name: "MsiFileHash",
        columns: &[
            id("File_").key().of("File"),
            short("Options").within(0, 32_767),
            long("HashPart1"),
            long("HashPart2"),
            long("HashPart3"),
            long("HashPart4"),
        ],
    },
    Table {
        name: "MsiLockPermissionsEx",
        columns: &[
            id("MsiLockPermissionsEx").key(),
            id("LockObject").of("CreateFolder;File;Registry;ServiceInstall"),
            text("Table", 32, "Identifier").one_of("CreateFolder;File;Registry;ServiceInstall"),
            text("SDDLText", 0, "FormattedSDDLText"),
            text("Condition", 255, "Condition").nullable(),
        ],
    },
    Table { name: "Property", columns: &[id("Property").key(), localized("Value", 0, "Text")] },
    Table {
        name: "Registry",
        columns: &[
            id("Registry").key(),
            short("Root").within(-1, 3),
            localized("Key", 255, "RegPath"),
            localized("Name", 255, "Formatted").nullable(),
            localized("Value", 0, "Formatted").nullable(),
            component(),
        ],
    },
    Table {
        name: "ServiceControl",
        columns: &[
            id("ServiceControl").key(),
            localized("Name", 255, "Formatted"),
            short("Event").within(0, 187),
            localized("Arguments", 255, "Formatted").nullable(),
            short("Wait").within(0, 1).nullable(),
            component(),
        ],
    },
    Table {
        name: "ServiceInstall",
        columns: &[
            id("ServiceInstall").key(),
            text("Name", 255, "Formatted"),
            localized("DisplayName", 255, "Formatted").nullable(),
            long("ServiceType").within(ANY.0, ANY.1),
            long("StartType").within(0, 4),
            long("ErrorControl").within(ANY.0, ANY.1),
            text("LoadOrderGroup", 255, "Formatted").nullable(),
            text("Dependencies", 255, "Formatted").nullable(),
            text("StartName", 255, "Formatted").nullable(),
            text("Password", 255, "Formatted").nullable(),
            text("Arguments", 255, "Formatted").nullable(),
            component(),
            localized("Description", 255, "Formatted").nullable(),
        ],
    },
    Table {
        name: "Upgrade",
        columns: &[
            text("UpgradeCode", 38, "Guid").key(),
            text("VersionMin", 20, "Text").key().nullable(),
            text("VersionMax", 20, "Text").key().nullable(),
            text("Language", 255, "Language").key().nullable(),
            long("Attributes").key().within(0, i32::MAX),
            text("Remove", 255, "Formatted").nullable(),
            text("ActionProperty", 72, "UpperCase"),
        ],
    },
    Table {
        name: "_Validation",
        columns: &[
            text("Table", 32, "Identifier").key(),
            text("Column", 32, "Identifier").key(),
            text("Nullable", 4, "Text").one_of("Y;N"),
            long("MinValue").within(ANY.0, ANY.1).nullable(),
            long("MaxValue").within(ANY.0, ANY.1).nullable(),
            text("KeyTable", 255, "Identifier").nullable(),
            short("KeyColumn").within(1, 32).nullable(),
            text("Category", 32, "Text").nullable(),
            text("Set", 255, "Text").nullable(),
            text("Description", 255, "Text").nullable(),
        ],
    },
];
