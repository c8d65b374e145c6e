//! The only reader of `templates/`: a typed struct for each, checked when this is compiled.
//!
//! Scripts and the unit mention nothing but paths, names and versions, which need no quoting. URLs
//! and secrets live in files that are written by a serialiser.

use askama::Template;
use semver::Version;

use crate::{
    package::{Account, Lifecycle, Pointer},
    spec::{CpuQuota, Publisher},
    tree::InstallPath,
};

/// Licenses as `/usr/share/licenses` has them, with their names there.
pub(crate) const LICENSES: [(&str, &[u8]); 2] = [
    ("LICENSE-APACHE", include_bytes!("../../LICENSE-APACHE")),
    ("LICENSE-MIT", include_bytes!("../../LICENSE-MIT")),
];

/// The picture that stands for an installed msi.
pub(crate) const WINDOWS_ICON: &[u8] = include_bytes!("../../templates/windows/fleetd.ico");

/// The server's unit and configuration, the same for every machine.
pub(crate) const SERVER_UNIT: &[u8] = include_bytes!("../../templates/server/fleet-server.service");
pub(crate) const SERVER_CONFIG: &[u8] = include_bytes!("../../templates/server/config.yaml");
/// The server's configuration in a container.
pub(crate) const IMAGE_CONFIG: &[u8] = include_bytes!("../../templates/server/image.yaml");

#[derive(Template)]
#[template(path = "linux/orbit.service")]
pub(crate) struct Unit<'a> {
    pub(crate) service: &'a str,
    pub(crate) cpu_quota: Option<CpuQuota>,
}

/// `/etc/default/orbit`.
#[derive(Template)]
#[template(path = "linux/environment.txt")]
pub(crate) struct Environment<'a> {
    pub(crate) service: &'a str,
    pub(crate) secret: &'a InstallPath,
    pub(crate) settings: Vec<Setting>,
}

pub(crate) struct Setting {
    pub(crate) meaning: &'static str,
    /// `NAME="value"`, quoted.
    pub(crate) line: String,
}

/// Defines a script that sees a package's life cycle.
macro_rules! script {
    ($name:ident, $path:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        pub(crate) struct $name<'a> {
            lifecycle: &'a Lifecycle,
        }

        impl<'a> $name<'a> {
            pub(crate) fn text(lifecycle: &'a Lifecycle) -> String {
                rendered(&Self { lifecycle })
            }
        }
    };
}

/// Sees the paths, too, that belong to the account's group.
#[derive(Template)]
#[template(path = "deb/postinst.sh")]
pub(crate) struct DebPostinst<'a> {
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) owned: Vec<&'a InstallPath>,
}

script!(DebPrerm, "deb/prerm.sh");
script!(DebPostrm, "deb/postrm.sh");
script!(PkgPreinstall, "macos/preinstall.sh");
script!(PkgPostinstall, "macos/postinstall.sh");
script!(RpmPost, "rpm/post.sh");
script!(RpmPreun, "rpm/preun.sh");

#[derive(Template)]
#[template(path = "rpm/pre.sh")]
pub(crate) struct RpmPre<'a> {
    pub(crate) account: &'a Account,
}

/// The same for every package that has scripts.
pub(crate) const RPM_POSTUN: &str = include_str!("../../templates/rpm/postun.sh");

/// What the Windows installer does.
pub(crate) const WINDOWS_INSTALLER: &str = include_str!("../../templates/windows/installer.toml");

#[derive(Template)]
#[template(path = "deb/copyright.txt")]
pub(crate) struct DebCopyright<'a> {
    pub(crate) name: &'a str,
    /// Whether osqueryd is in the package.
    pub(crate) osquery: bool,
}

#[derive(Template)]
#[template(path = "deb/changelog.txt")]
pub(crate) struct DebChangelog<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) publisher: &'a Publisher,
    /// As in RFC 2822.
    pub(crate) date: String,
}

#[derive(Template)]
#[template(path = "deb/lintian-overrides.txt")]
pub(crate) struct LintianOverrides<'a> {
    pub(crate) name: &'a str,
    /// Whether something is in `/opt`.
    pub(crate) in_opt: bool,
    /// Whether something is for root alone.
    pub(crate) for_root: bool,
    /// Whether something is for an account of the package's own.
    pub(crate) for_account: bool,
    /// Names of commands that have no manual page.
    pub(crate) without_manual: Vec<&'a str>,
}

/// Run by an administrator.
#[derive(Template)]
#[template(path = "macos/uninstall.sh")]
pub(crate) struct MacosUninstall<'a> {
    pub(crate) service: &'a str,
    pub(crate) pointers: Vec<&'a InstallPath>,
    /// What the package owns outside of the components' folder; what is in a folder before it.
    pub(crate) owned: Vec<InstallPath>,
    pub(crate) state: &'a [InstallPath],
}

/// The document of a component package.
#[derive(Template)]
#[template(path = "macos/PackageInfo.xml")]
pub(crate) struct PkgInfo<'a> {
    pub(crate) component: &'a str,
    pub(crate) version: &'a Version,
    pub(crate) files: usize,
    pub(crate) kbytes: u64,
    /// Whether there are any.
    pub(crate) scripts: bool,
}

/// The document of a product archive.
#[derive(Template)]
#[template(path = "macos/Distribution.xml")]
pub(crate) struct PkgDistribution<'a> {
    pub(crate) title: &'a str,
    pub(crate) summary: &'a str,
    pub(crate) product: &'a str,
    pub(crate) component: &'a str,
    /// Of the component package in the archive.
    pub(crate) folder: &'a str,
    pub(crate) version: &'a Version,
    /// As Apple names them, with commas.
    pub(crate) archs: &'a str,
    /// The oldest macOS to install on.
    pub(crate) minimum: &'a str,
    pub(crate) kbytes: u64,
}

impl Pointer {
    /// The packaged file as seen from the pointer's folder.
    fn relative(&self) -> &str {
        let folder = self.link.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        let packaged = self.packaged.as_str();
        packaged.strip_prefix(folder).map_or(packaged, |rest| rest.trim_start_matches('/'))
    }

    fn version(&self) -> &Version {
        &self.version
    }
}

/// Ends in a line end, which askama takes off the template.
pub(crate) fn rendered(template: &impl Template) -> String {
    let mut text = template.render().expect("templates have nothing in them that can fail");
    text.push('\n');
    text
}
