//! The signature of a deb: an ar member over those before it. Source: debsigs(1), debsig-verify(1).

use std::io::{self, Read as _};

use crate::{
    archive::{
        ar::{self, ArWriter, Listed},
        sections::Sections,
    },
    format::{ReadSeek, WriteSeek},
    package::SourceDate,
    sign::{
        SignError, copy,
        openpgp::{Certificates, Found, SigningKey, VerifyError},
    },
};

/// By whom the package was made; other names are for others who vouch for it.
const MEMBER: &str = "_gpgorigin";
/// What they all begin with.
const MEMBERS: &str = "_gpg";

/// The members that a signature is over: all that a package has.
struct Members(Vec<Listed>);

impl Members {
    fn of(package: &mut dyn ReadSeek) -> Result<(Self, Vec<Listed>), VerifyError> {
        let members = ar::list(package).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                return damaged(&error.to_string());
            }
            VerifyError::Read(error)
        })?;
        let (signatures, members): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.name.starts_with(MEMBERS));
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        match names[..] {
            ["debian-binary", control, data]
                if control.starts_with("control.tar") && data.starts_with("data.tar") => {}
            _ => return Err(damaged("its members are not those of a deb")),
        }
        Ok((Self(members), signatures))
    }

    fn sections(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|member| (member.at, member.length)).collect()
    }

    fn date(&self) -> SourceDate {
        SourceDate::from_unix(self.0.first().map_or(0, |member| member.mtime))
    }
}

/// Copies the deb `unsigned` to `out`, signed by `key` and by nobody else.
pub(super) fn sign(
    unsigned: &mut dyn ReadSeek,
    key: &SigningKey,
    out: &mut dyn WriteSeek,
) -> Result<(), SignError> {
    let (members, _) = Members::of(unsigned)?;
    let date = members.date();
    let made = key.sign(&mut Sections::new(unsigned, members.sections()), date)?;
    let mut ar = ArWriter::new(out, date.unix()).map_err(SignError::Write)?;
    for member in &members.0 {
        let begun = ar.begin(&member.name).map_err(SignError::Write)?;
        let mut content = Sections::new(unsigned, vec![(member.at, member.length)]);
        copy(&mut content, ar.out())?;
        ar.end(&begun).map_err(SignError::Write)?;
    }
    ar.member(MEMBER, &made).map_err(SignError::Write)
}

/// What there is to say of each OpenPGP signature of the deb `package`; none if it has none.
pub fn check_signatures(
    package: &mut dyn ReadSeek,
    certificates: &Certificates,
) -> Result<Vec<Found>, VerifyError> {
    /// More than a signature has.
    const LIMIT: u64 = 1 << 16;
    let (members, signatures) = Members::of(package)?;
    let mut found = Vec::new();
    for member in signatures {
        let mut signature = Vec::new();
        let content = (member.at, member.length.min(LIMIT));
        Sections::new(package, vec![content])
            .read_to_end(&mut signature)
            .map_err(VerifyError::Read)?;
        let mut content = Sections::new(package, members.sections());
        found.extend(certificates.check(&signature, &mut content).map_err(VerifyError::Read)?);
    }
    Ok(found)
}

fn damaged(reason: &str) -> VerifyError {
    VerifyError::Damaged { format: "deb", reason: reason.to_owned() }
}
