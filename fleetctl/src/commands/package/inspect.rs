//! `fleetctl package inspect`: what is in a package.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use packager::read::{Contents, Found, FoundKind, Kind, Signature};
use serde::{Serialize, Serializer};

use super::reading;
use crate::{
    flags::Output,
    output::{self, Table},
    session::Session,
};

const AFTER_HELP: &str = "\
Reads packages of type deb, rpm, msi and pkg, ours and others'. The enroll secret, and passwords in
addresses, are shown with --show-secret alone.

Examples:
  fleetctl package inspect fleetd_1.2.3_amd64.deb
  fleetctl package inspect --output json fleetd-1.2.3-x64.msi";

/// Shows what is in a package: metadata, settings, files, scripts, signatures
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct InspectArgs {
    /// The package
    pub file: PathBuf,
    /// Show the enroll secret, and passwords in addresses
    #[arg(long)]
    pub show_secret: bool,
    /// Show the texts of scripts, too; json and yaml always have them
    #[arg(long)]
    pub scripts: bool,
    #[command(flatten)]
    pub output: Output,
}

/// A package, as it is shown.
#[derive(Debug, Serialize)]
struct Inspected<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(serialize_with = "in_order")]
    metadata: Vec<(&'a str, String)>,
    enroll_secret: Secret,
    settings: BTreeMap<&'a str, String>,
    signatures: &'a [Signature],
    scripts: BTreeMap<&'a str, String>,
    files: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Secret {
    /// The files that have it in them.
    files: Vec<String>,
    /// None unless it is to be shown.
    value: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    path: &'a str,
    kind: FoundKind,
    mode: Option<String>,
    owner: &'a str,
    size: u64,
    config: bool,
    /// None of what has the secret in it, unless that is to be shown.
    sha256: Option<&'a str>,
    target: Option<&'a str>,
}

/// As a map whose order is the package's own.
fn in_order<S: Serializer>(pairs: &[(&str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

pub(crate) fn run(args: &InspectArgs, session: &Session) -> anyhow::Result<()> {
    let contents = reading::open(&args.file)?;
    let inspected = Inspected::new(&contents, args.show_secret);
    let shell = session.shell;
    match args.output.format {
        output::Format::Table => {
            shell.raw(inspected.about().render().as_bytes())?;
            shell.line("")?;
            shell.raw(inspected.tree().render().as_bytes())?;
            let scripts = inspected.scripts.iter().filter(|_| args.scripts);
            for (name, text) in scripts {
                shell.line(format!("\n--- {} ---", output::clean(name)))?;
                shell.line(output::clean_lines(text.trim_end()))?;
            }
            Ok(())
        }
        format @ (output::Format::Json | output::Format::Yaml) => {
            shell.data(format, &inspected, |_| Table::properties([]))
        }
    }
}

impl<'a> Inspected<'a> {
    fn new(contents: &'a Contents, show_secret: bool) -> Self {
        let settings = &contents.settings;
        let told = |text: &str| if show_secret { text.to_owned() } else { settings.hide_in(text) };
        let metadata = contents.metadata.iter().map(|(name, value)| (*name, told(value)));
        let vars = settings.vars.iter().map(|(name, value)| (name.as_str(), told(value)));
        let scripts = contents.scripts.iter().map(|(name, text)| (name.as_str(), told(text)));
        let listed = |(path, found): (&'a String, &'a Found)| {
            let hidden = !show_secret && settings.is_secret(path);
            Listed {
                path,
                kind: found.kind,
                mode: found.mode.map(|mode| format!("{mode:04o}")),
                owner: &found.owner,
                size: found.size,
                config: found.config,
                sha256: found.sha256.as_deref().filter(|_| !hidden),
                target: found.target.as_deref(),
            }
        };
        Self {
            kind: contents.kind,
            metadata: metadata.collect(),
            enroll_secret: Secret {
                files: settings.secret_in.clone(),
                value: settings.secret.clone().filter(|_| show_secret),
            },
            settings: vars.collect(),
            signatures: &contents.signatures,
            scripts: scripts.collect(),
            files: contents.files.iter().map(listed).collect(),
        }
    }

    /// Everything but the files.
    fn about(&self) -> Table {
        let joined = |texts: Vec<String>| match texts.is_empty() {
            true => "none".to_owned(),
            false => texts.join(", "),
        };
        let secret = match &self.enroll_secret {
            Secret { value: Some(value), .. } => value.clone(),
            Secret { files, .. } if files.is_empty() => "none".to_owned(),
            Secret { files, .. } => format!("in {}", files.join(", ")),
        };
        let signatures = self.signatures.iter().map(|it| format!("{} ({})", it.place, it.scheme));
        let scripts = self.scripts.iter();
        let scripts =
            scripts.map(|(name, text)| format!("{name} ({} lines)", text.lines().count()));
        let first = |value: &String| value.lines().next().unwrap_or_default().to_owned();
        let metadata = self.metadata.iter().map(|(name, value)| (*name, first(value)));
        let settings = self.settings.iter().map(|(name, value)| (*name, value.clone()));
        let rows = [("type", self.kind.to_string())].into_iter().chain(metadata);
        let rows = rows.chain(settings).chain([
            ("enroll secret", secret),
            ("scripts", joined(scripts.collect())),
            ("signatures", joined(signatures.collect())),
        ]);
        Table::properties(rows)
    }

    fn tree(&self) -> Table {
        let row = |file: &Listed<'_>| {
            let path = match file.target {
                Some(target) => format!("{} -> {target}", file.path),
                None => file.path.to_owned(),
            };
            let kind = format!("{:?}", file.kind).to_lowercase();
            let mode = file.mode.clone().unwrap_or_default();
            [kind, mode, file.owner.to_owned(), file.size.to_string(), path]
        };
        Table::list(["kind", "mode", "owner", "size", "path"], self.files.iter().map(row))
    }
}
