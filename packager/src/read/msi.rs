//! Reads an msi. Source: the Windows Installer's documentation, MS-CFB, MS-CAB.

mod cabinet;
mod compound;
mod database;
mod folders;
mod summary;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Seek as _, SeekFrom},
};

use md5::{Digest, Md5};

use self::{
    cabinet::Cabinet,
    compound::Compound,
    database::{Row, Schema, Strings, Table},
    folders::Folders,
};
use super::{
    Check, Contents, Kind, Outcome, ReadSeek, Signature,
    decode::{self, UNPACKED},
    error::ReadError,
    files::{Files, Found, FoundKind},
    settings::Settings,
};
use crate::format::msi::stream_name;

/// Properties that are told, as they are named here.
const PROPERTIES: [(&str, &str); 6] = [
    ("ProductName", "name"),
    ("ProductVersion", "version"),
    ("Manufacturer", "vendor"),
    ("ProductCode", "product_code"),
    ("UpgradeCode", "upgrade_code"),
    ("ARPURLINFOABOUT", "homepage"),
];

const SIGNATURE: &str = "\u{5}DigitalSignature";

pub(super) fn read(file: &mut dyn ReadSeek) -> Result<Contents, ReadError> {
    let mut compound = Compound::open(file)?;
    let pool = compound.text(&stream_name("_StringPool", true))?;
    let data = compound.text(&stream_name("_StringData", true))?;
    let strings = Strings::read(&pool, &data)?;
    let columns = compound.text(&stream_name("_Columns", true))?;
    let schema = Schema::read(&columns, &strings)?;
    let mut table = |name: &str| {
        let stream = compound.text(&stream_name(name, true))?;
        schema.table(name, &stream, &strings)
    };
    let tables = Tables {
        properties: table("Property")?,
        folders: Folders::read(&table("Directory")?, &table("Component")?),
        files: table("File")?,
        hashes: table("MsiFileHash")?,
        media: table("Media")?,
        actions: table("CustomAction")?,
        services: table("ServiceInstall")?,
    };
    let mut files = Files::default();
    let mut checks = tables.read_cabinets(&mut compound, &mut files)?;
    checks.push(Check::of_many("each path once", &files.twice));
    let mut metadata = tables.metadata();
    metadata.extend(summary::read(&compound.text("\u{5}SummaryInformation")?));
    metadata.retain(|(_, value)| !value.is_empty());
    let streams = compound.streams().into_iter();
    let signatures = streams.filter(|(name, _)| name == SIGNATURE).map(|(_, size)| Signature {
        place: "DigitalSignature".to_owned(),
        scheme: "authenticode",
        size,
    });
    Ok(Contents {
        kind: Kind::Msi,
        metadata,
        scripts: tables.scripts(),
        signatures: signatures.collect(),
        settings: Settings::of(&files.kept),
        files: files.found,
        checks,
    })
}

struct Tables<'a> {
    properties: Table<'a>,
    folders: Folders,
    files: Table<'a>,
    hashes: Table<'a>,
    media: Table<'a>,
    actions: Table<'a>,
    services: Table<'a>,
}

/// A row of the table of files.
struct Listed {
    path: String,
    size: u64,
    /// MD5, if one is recorded.
    md5: Option<[u8; 16]>,
}

impl Tables<'_> {
    fn metadata(&self) -> Vec<(&'static str, String)> {
        let value = |property: &str| {
            let row = self.properties.rows().find(|row| row.text("Property") == property);
            row.map_or("", |row| row.text("Value")).to_owned()
        };
        PROPERTIES.iter().map(|(property, name)| (*name, value(property))).collect()
    }

    /// Custom actions and services: what runs. Who installs gives them no other text.
    fn scripts(&self) -> BTreeMap<String, String> {
        let action = |row: Row<'_>| {
            let text = format!(
                "type {}: {} {}",
                row.number("Type"),
                row.text("Source"),
                row.text("Target")
            );
            (format!("action {}", row.text("Action")), text)
        };
        let service = |row: Row<'_>| {
            let text = format!("{} {}", row.text("Component_"), row.text("Arguments"));
            (format!("service {}", row.text("Name")), text.trim().to_owned())
        };
        self.actions.rows().map(action).chain(self.services.rows().map(service)).collect()
    }

    fn listed(&self) -> BTreeMap<String, Listed> {
        let mut hashes = BTreeMap::new();
        for row in self.hashes.rows() {
            let parts = ["HashPart1", "HashPart2", "HashPart3", "HashPart4"];
            let mut md5 = [0; 16];
            for (part, bytes) in parts.into_iter().zip(md5.as_chunks_mut::<4>().0) {
                *bytes = (row.number(part) as i32).to_le_bytes();
            }
            hashes.insert(row.text("File_"), md5);
        }
        let file = |row: Row<'_>| {
            let folder = self.folders.of_component(row.text("Component_"));
            let name = folders::long_name(row.text("FileName"));
            let listed = Listed {
                path: format!("{folder}/{name}"),
                size: u64::try_from(row.number("FileSize")).unwrap_or_default(),
                md5: hashes.get(row.text("File")).copied(),
            };
            (row.text("File").to_owned(), listed)
        };
        self.files.rows().map(file).collect()
    }

    fn read_cabinets(
        &self,
        compound: &mut Compound<'_>,
        files: &mut Files,
    ) -> Result<Vec<Check>, ReadError> {
        let mut listed = self.listed();
        let mut checks = Vec::new();
        let mut wrong = Vec::new();
        for path in self.folders.paths() {
            files.add(path, folder())?;
        }
        let (mut names, mut left) = (BTreeSet::new(), UNPACKED);
        for row in self.media.rows() {
            let what = format!("cabinet {}", row.text("Cabinet"));
            let Some(name) = row.text("Cabinet").strip_prefix('#') else {
                let reason = "it is not in the package".to_owned();
                checks.push(Check::new(what, Outcome::Unchecked(reason)));
                continue;
            };
            // The names of streams are the same in either case.
            if !names.insert(name.to_uppercase()) {
                return Err(ReadError::damaged("database", format!("`{name}` is in Media twice")));
            }
            let mut stream = compound.stream(&stream_name(name, false))?;
            let cabinet = Cabinet::read(&mut stream)?;
            stream.seek(SeekFrom::Start(0)).map_err(ReadError::at(cabinet::PART))?;
            let whole = cabinet.each(&mut stream, &mut left, |item, from| {
                let Some(listed) = listed.remove(&item.name) else {
                    wrong.push(format!("`{}` is in no list", item.name));
                    return decode::skip(from, cabinet::PART, item.size);
                };
                wrong.extend(listed.compare(item.size, from, files)?);
                Ok(())
            })?;
            let outcome = match whole {
                true => Outcome::Passed,
                false => Outcome::Failed("a block's checksum is another".to_owned()),
            };
            checks.push(Check::new(format!("checksums of {what}"), outcome));
        }
        for (_, file) in listed {
            wrong.push(format!("`{}` is in no cabinet", file.path));
            files.add(file.path, Found { size: file.size, kind: FoundKind::File, ..folder() })?;
        }
        checks.push(Check::of_many("files against File and MsiFileHash", &wrong));
        Ok(checks)
    }
}

fn folder() -> Found {
    Found { mode: None, ..Found::new(FoundKind::Dir, 0, String::new()) }
}

impl Listed {
    /// Reads the file from the cabinet, where it has `size` bytes; gives what is wrong with it.
    fn compare(
        self,
        size: u64,
        from: &mut dyn std::io::Read,
        files: &mut Files,
    ) -> Result<Vec<String>, ReadError> {
        let Self { path, size: recorded, md5 } = self;
        let mut hash = Md5::new();
        let sha256 = files.hash(&path, from, size, &mut |bytes| hash.update(bytes))?;
        let mut wrong = Vec::new();
        if size != recorded {
            wrong.push(format!("`{path}` has {size} bytes, {recorded} were recorded"));
        }
        let hash: [u8; 16] = hash.finalize().into();
        if md5.is_some_and(|recorded| recorded != hash) {
            wrong.push(format!("`{path}` has another MD5"));
        }
        let found = Found { kind: FoundKind::File, size, sha256: Some(sha256), ..folder() };
        files.add(path, found)?;
        Ok(wrong)
    }
}
