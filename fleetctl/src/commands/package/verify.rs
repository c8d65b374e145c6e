//! `fleetctl package verify`: whether a package is whole, and as packages are.

mod signatures;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use packager::read::{Check, Kind, Outcome, layout};
use serde::Serialize;

use self::signatures::{TrustArgs, Trusted};
use super::reading;
use crate::{exit::Stop, flags::Output, output::Table, session::Session};

const AFTER_HELP: &str = "\
Compares every digest, checksum and size that the format records with what is in the file, and what
is laid with what is expected of a package. Exit code 0: all of that holds. 1: something does not,
or there is a signature that was not checked; --no-signature says that this is meant. In a pkg, the
programs and bundles have signatures of their own, which are checked, too.

Examples:
  fleetctl package verify --key release.asc fleetd_1.2.3_amd64.deb
  fleetctl package verify --root authority.pem fleetd-1.2.3-x64.msi
  fleetctl package verify --root apple.pem --timestamp-root apple.pem fleetd-1.2.3.pkg
  fleetctl package verify --no-signature --output json osquery-5.9.1.rpm";

/// Checks a package's digests, layout and signature
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct VerifyArgs {
    /// The package
    pub file: PathBuf,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub output: Output,
}

/// A package, and what was found of it.
#[derive(Debug, Serialize)]
struct Verified {
    /// Whether all that was to be checked was, and holds.
    good: bool,
    checks: Vec<Check>,
}

pub(crate) fn run(args: &VerifyArgs, session: &Session) -> anyhow::Result<()> {
    let trusted = Trusted::read(&args.trust)?;
    let contents = reading::open(&args.file)?;
    let mut checks = contents.checks.clone();
    checks.extend(layout::check(&contents));
    let mut signed = true;
    if !args.trust.no_signature {
        let mut signatures = trusted.check(&args.file, &contents)?;
        if contents.kind == Kind::Pkg {
            let problem = || format!("could not read `{}`", args.file.display());
            signatures.extend(trusted.check_code(&args.file).with_context(problem)?);
        }
        signed = !signatures.iter().any(is_unchecked);
        checks.extend(signatures);
    }
    let failed = checks.iter().any(|check| matches!(check.outcome, Outcome::Failed(_)));
    let verified = Verified { good: signed && !failed, checks };
    session.shell.data(args.output.format, &verified, table)?;
    if verified.good { Ok(()) } else { Err(Stop::Reported.into()) }
}

fn is_unchecked(check: &Check) -> bool {
    matches!(check.outcome, Outcome::Unchecked(_))
}

fn table(verified: &Verified) -> Table {
    let row = |check: &Check| {
        let (outcome, reason) = match &check.outcome {
            Outcome::Passed => ("good", ""),
            Outcome::Failed(reason) => ("BAD", reason.as_str()),
            Outcome::Unchecked(reason) => ("not checked", reason.as_str()),
            Outcome::Absent(reason) => ("none", reason.as_str()),
        };
        [outcome.to_owned(), check.what.clone(), reason.to_owned()]
    };
    Table::list(["result", "what", "why"], verified.checks.iter().map(row))
}
