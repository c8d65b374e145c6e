//! Who signed a package, held against keys and authorities that flags name.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use camino::Utf8Path;
use clap::Args;
use jiff::Timestamp;
use packager::{
    ReadSeek,
    format::{msi, pkg},
    read::{Check, Contents, Kind, Outcome, check_code},
    sign::{
        self, Certificate, Seal, Trust,
        bundle::Judged,
        openpgp::{Certificates, Found, Verdict, VerifyError, check_deb, check_rpm},
    },
};

use crate::{
    commands::{expiry::now, package::files::unreadable},
    exit::Stop,
};

/// What signatures are held against.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct TrustArgs {
    /// Public key that a deb or an rpm has to be signed with, as `gpg --export` writes it; may come
    /// several times
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// PEM file of authorities that the signer of an msi or a pkg has to have a certificate of; may come
    /// several times
    #[arg(long = "root", value_name = "PEM")]
    pub roots: Vec<PathBuf>,
    /// PEM file of authorities that are believed when a package was signed, which counts if the signer's
    /// certificate has expired since; may come several times
    #[arg(long = "timestamp-root", value_name = "PEM", requires = "roots")]
    pub timestamp_roots: Vec<PathBuf>,
    /// Do not ask for signatures to be checked
    #[arg(long, conflicts_with_all = ["keys", "roots", "timestamp_roots"])]
    pub no_signature: bool,
}

/// Keys and authorities.
pub(super) struct Trusted {
    keys: Option<Certificates>,
    roots: Option<Vec<Certificate>>,
    timestamp_roots: Vec<Certificate>,
}

impl Trusted {
    /// Reads the files that `args` name; everything that is wrong with them is told at once.
    pub(super) fn read(args: &TrustArgs) -> Result<Self, Stop> {
        let mut problems = Vec::new();
        let mut keys: Option<Certificates> = None;
        for path in &args.keys {
            match read("--key", path, Certificates::parse) {
                Ok(more) => keys.get_or_insert_default().extend(more),
                Err(problem) => problems.push(problem),
            }
        }
        let mut certificates = |flag, paths: &[PathBuf]| {
            let mut all = Vec::new();
            for path in paths {
                match read(flag, path, Certificate::all_from_pem) {
                    Ok(more) => all.extend(more),
                    Err(problem) => problems.push(problem),
                }
            }
            all
        };
        let roots = certificates("--root", &args.roots);
        let roots = Some(roots).filter(|_| !args.roots.is_empty());
        let timestamp_roots = certificates("--timestamp-root", &args.timestamp_roots);
        if problems.is_empty() {
            Ok(Self { keys, roots, timestamp_roots })
        } else {
            Err(Stop::Usage { problems, help: None })
        }
    }

    /// A check for each signature of the package at `path`.
    pub(super) fn check(&self, path: &Path, contents: &Contents) -> Result<Vec<Check>, Stop> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Stop::usage(format!("`{}` cannot be read: {error}", path.display()))
        };
        if contents.signatures.is_empty() {
            return Ok(vec![self.unsigned(contents.kind)]);
        }
        let mut file = File::open(path).map_err(|error| unreadable(&error))?;
        match contents.kind {
            Kind::Deb => self.openpgp(&mut file, check_deb).map_err(|error| unreadable(&error)),
            Kind::Rpm => self.openpgp(&mut file, check_rpm).map_err(|error| unreadable(&error)),
            Kind::Msi => Ok(vec![self.installer(&mut file, msi::verify)]),
            Kind::Pkg => Ok(vec![self.installer(&mut file, pkg::verify)]),
        }
    }

    /// Whoever names a key asks for a signature.
    fn unsigned(&self, kind: Kind) -> Check {
        let wanted = match kind {
            Kind::Deb | Kind::Rpm => self.keys.is_some(),
            Kind::Msi | Kind::Pkg => self.roots.is_some(),
        };
        let reason = "the package is not signed".to_owned();
        let outcome = if wanted { Outcome::Failed(reason) } else { Outcome::Absent(reason) };
        Check { what: "signature".to_owned(), outcome }
    }

    fn openpgp(
        &self,
        file: &mut dyn ReadSeek,
        check: fn(&mut dyn ReadSeek, &Certificates) -> Result<Vec<Found>, VerifyError>,
    ) -> Result<Vec<Check>, VerifyError> {
        let nobody = Certificates::default();
        let found = check(file, self.keys.as_ref().unwrap_or(&nobody))?;
        Ok(found.iter().map(|found| self.judged(found)).collect())
    }

    fn judged(&self, found: &Found) -> Check {
        let issuer = found.issuer.as_deref().unwrap_or("somebody unnamed");
        let outcome = match &found.verdict {
            Verdict::Good { .. } => Outcome::Passed,
            Verdict::Bad { reason } => Outcome::Failed(reason.clone()),
            Verdict::Unknown if self.keys.is_none() => {
                Outcome::Unchecked("no --key was given".to_owned())
            }
            Verdict::Unknown | _ => Outcome::Failed("no key that was given made it".to_owned()),
        };
        let who = match &found.verdict {
            Verdict::Good { fingerprint, user } => {
                format!("{} ({fingerprint})", user.as_deref().unwrap_or("a key without a name"))
            }
            Verdict::Bad { .. } | Verdict::Unknown | _ => issuer.to_owned(),
        };
        Check { what: format!("signature by {who}, {}", found.algorithm), outcome }
    }

    fn installer(
        &self,
        file: &mut dyn ReadSeek,
        verify: fn(&mut dyn ReadSeek, &Trust) -> Result<Seal, sign::VerifyError>,
    ) -> Check {
        match verify(file, &self.trust()) {
            Ok(seal) => Check {
                what: format!("signature by {}", signer(&seal)),
                outcome: self.believed(&seal),
            },
            Err(sign::VerifyError::NotSigned) => {
                let reason = "it has no message of CMS, which alone is checked";
                unnamed(Outcome::Unchecked(reason.to_owned()))
            }
            Err(error) => unnamed(Outcome::Failed(error.to_string())),
        }
    }

    /// A check for each program and bundle for macOS in the package at `path`.
    pub(super) fn check_code(&self, path: &Path) -> anyhow::Result<Vec<Check>> {
        let mut file = File::open(path)?;
        let folder = tempfile::tempdir().context("could not make a temporary folder")?;
        let scratch = folder.path().join("code");
        let scratch = Utf8Path::from_path(&scratch).context("the temporary folder is not UTF-8")?;
        let judged = check_code(&mut file, scratch, &self.trust())?;
        Ok(judged.iter().map(|judged| self.program(judged)).collect())
    }

    fn program(&self, Judged { path, found }: &Judged) -> Check {
        let (what, outcome) = match found {
            Ok(sealed) => match &sealed.seal {
                Some(seal) => {
                    let who = format!("{} by {}", sealed.identifier, signer(seal));
                    (who, self.believed(seal))
                }
                None => (sealed.identifier.clone(), self.nobodys()),
            },
            Err(sign::VerifyError::NotSigned) => ("a program".to_owned(), self.nobodys()),
            Err(error) => ("signature".to_owned(), Outcome::Failed(error.to_string())),
        };
        Check { what: format!("{path}: {what}"), outcome }
    }

    fn nobodys(&self) -> Outcome {
        let reason = "nobody has signed it".to_owned();
        match self.roots {
            Some(_) => Outcome::Failed(reason),
            None => Outcome::Absent(reason),
        }
    }

    fn trust(&self) -> Trust {
        let seconds = u64::try_from(now().as_second()).unwrap_or_default();
        // Whoever names no authority believes none.
        let timestamp_roots = Some(self.timestamp_roots.clone());
        Trust { roots: self.roots.clone(), timestamp_roots, now: seconds }
    }

    fn believed(&self, seal: &Seal) -> Outcome {
        match self.roots {
            Some(_) if seal.trusted => Outcome::Passed,
            Some(_) => Outcome::Failed("its chain leads to no --root".to_owned()),
            None => Outcome::Unchecked("it holds; no --root says whose it may be".to_owned()),
        }
    }
}

fn unnamed(outcome: Outcome) -> Check {
    Check { what: "signature".to_owned(), outcome }
}

/// The signer's name, and when a timestamp that is believed says that it signed.
fn signer(seal: &Seal) -> String {
    let name =
        seal.chain.first().map_or_else(|| "somebody unnamed".to_owned(), Certificate::subject);
    let at = seal.timestamp.and_then(|at| Timestamp::from_second(at.try_into().ok()?).ok());
    at.map_or(name.clone(), |at| format!("{name}, there since {at}"))
}

fn read<T, E: std::fmt::Display>(
    flag: &str,
    path: &Path,
    parse: fn(&[u8]) -> Result<T, E>,
) -> Result<T, String> {
    let bytes = fs::read(path).map_err(|error| unreadable(flag, path, &error))?;
    parse(&bytes).map_err(|error| format!("{flag} `{}` cannot be used: {error}", path.display()))
}
