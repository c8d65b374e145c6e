//! `fleetctl generate mdm`: what a device management server is to push, so that devices which it knows
//! get the agent and its configuration.

mod apple;
mod windows;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use packager::read::{Contents, Kind};
use serde::Serialize;
use url::Url;
use wire::{EnrollSecret, settings};

use super::super::package::{files, reading};
use crate::{
    exit::Stop,
    flags::Output,
    output::{Shell, Table},
};

const AFTER_HELP: &str = "\
Of a .pkg: a configuration profile with server and secret (fleetd.mobileconfig), and the manifest of
the command InstallEnterpriseApplication (manifest.plist), whose URL the management server tells Macs.
Of an .msi: the commands of EnterpriseDesktopAppManagement (install.syncml), for servers that push
SyncML. Server and secret that the package carries need not be given.

Files with a secret are for you alone to read. Devices show it to their administrators, and macOS to
everybody on the Mac.

Examples:
  fleetctl generate mdm --package fleetd-1.2.3.pkg --package-url https://dl.example.com/fleetd-1.2.3.pkg \\
    --fleet-url https://fleet.example.com --enroll-secret-file secret.txt --out-dir mdm
  fleetctl generate mdm --package fleetd-1.2.3-x64.msi --package-url https://dl.example.com/fleetd.msi";

/// Writes what Apple's and Microsoft's device management are to push
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MdmArgs {
    /// The .pkg or .msi that devices are to install
    #[arg(long, value_name = "FILE")]
    package: PathBuf,
    /// Where devices download it from; https
    #[arg(long, value_name = "URL")]
    package_url: String,
    /// Server's address; goes together with an enroll secret
    #[arg(long, value_name = "URL", requires = "enroll_secret_file")]
    fleet_url: Option<String>,
    /// File with the enroll secret on its only line; - for standard input
    #[arg(long, value_name = "FILE", requires = "fleet_url")]
    enroll_secret_file: Option<PathBuf>,
    /// What devices call their administrator
    #[arg(long, value_name = "NAME", default_value = "fleetd")]
    organization: String,
    /// Folder for the files, made when missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    out_dir: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// The package, and where it is had.
struct Package<'a> {
    contents: &'a Contents,
    url: &'a Url,
    organization: &'a str,
}

/// Server and secret that devices are told beside the package.
struct Enrollment {
    url: Url,
    secret: EnrollSecret,
}

/// A file to be written.
struct Document {
    name: &'static str,
    /// What it is for, in a word or two.
    purpose: &'static str,
    text: Vec<u8>,
    secret: bool,
}

/// A file that was written, as it is told.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    purpose: &'static str,
    /// Whether it has the enroll secret in it.
    secret: bool,
}

pub(super) fn run(args: &MdmArgs, shell: Shell) -> anyhow::Result<()> {
    let url = package_url(&args.package_url)?;
    let contents = reading::open(&args.package)?;
    let enrollment = enrollment(args)?;
    if enrollment.is_none() && contents.settings.fleet_url().is_none() {
        return Err(Stop::usage(
            "the package carries no server: --fleet-url and --enroll-secret-file must tell devices",
        )
        .into());
    }
    if contents.signatures.is_empty() {
        shell.warn("the package is not signed: macOS installs no such package from a management server, and Windows may refuse it");
    }
    let package = Package { contents: &contents, url: &url, organization: &args.organization };
    let documents = match contents.kind {
        Kind::Pkg => apple::documents(&package, &args.package, enrollment.as_ref())?,
        Kind::Msi => windows::documents(&package, &args.package, enrollment.as_ref())?,
        Kind::Deb | Kind::Rpm => {
            let kind = contents.kind;
            let help = format!("--package is a {kind}; device management installs .pkg and .msi");
            return Err(Stop::usage(help).into());
        }
    };
    fs::create_dir_all(&args.out_dir)
        .with_context(|| format!("could not create `{}`", args.out_dir.display()))?;
    let mut all = Vec::new();
    for document in documents {
        all.push(document.write(&args.out_dir)?);
    }
    shell.data(args.output.format, &all, |all| {
        let row = |it: &Written| {
            let secret = if it.secret { "yes" } else { "no" };
            [it.file.display().to_string(), it.purpose.to_owned(), secret.to_owned()]
        };
        Table::list(["file", "purpose", "secret"], all.iter().map(row))
    })
}

/// Devices refuse what is not fetched by TLS.
fn package_url(text: &str) -> Result<Url, Stop> {
    let url = Url::parse(text)
        .map_err(|error| Stop::usage(format!("--package-url is no address: {error}")))?;
    match url.scheme() {
        "https" => Ok(url),
        other => Err(Stop::usage(format!("--package-url must begin with https, not {other}"))),
    }
}

fn enrollment(args: &MdmArgs) -> Result<Option<Enrollment>, Stop> {
    let (Some(url), Some(path)) = (&args.fleet_url, &args.enroll_secret_file) else {
        return Ok(None);
    };
    let url = settings::server_url(url)
        .map_err(|problem| Stop::usage(format!("--fleet-url: {problem}")))?;
    let flag = "--enroll-secret-file";
    let text = files::read_text(path)
        .map_err(|error| Stop::usage(files::unreadable(flag, path, &error)))?;
    let secret = settings::secret_from_file_text(&text).map_err(|error| {
        Stop::usage(format!("{flag} `{}` holds no enroll secret: {error}", path.display()))
    })?;
    Ok(Some(Enrollment { url, secret }))
}

impl Document {
    /// Writes it into `folder`, in one piece or not at all.
    fn write(self, folder: &Path) -> anyhow::Result<Written> {
        let path = folder.join(self.name);
        let problem = || format!("could not write `{}`", path.display());
        // Made for its owner alone, which it stays if there is a secret in it.
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(problem)?;
        file.write_all(&self.text).with_context(problem)?;
        #[cfg(unix)]
        if !self.secret {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::Permissions::from_mode(0o644);
            file.as_file().set_permissions(mode).with_context(problem)?;
        }
        file.persist(&path).with_context(problem)?;
        Ok(Written { file: path, purpose: self.purpose, secret: self.secret })
    }
}
