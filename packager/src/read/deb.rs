//! Reads a deb. Source: deb(5), deb-control(5).

use std::{
    collections::BTreeMap,
    io::{Read, SeekFrom},
};

use md5::{Digest, Md5};

use super::{
    Check, Contents, FoundKind, Kind, Outcome, ReadSeek, Signature,
    decode::{self, TEXT, UNPACKED},
    error::ReadError,
    files::{Files, absolute},
    settings::Settings,
    tar,
};
use crate::archive::ar::{self, Listed};

const AR: &str = "ar archive";
const CONTROL: &str = "control archive";
const DATA: &str = "archive of files";

/// What runs, and when.
const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// Fields of the control file that are told, as they are named here.
const FIELDS: [(&str, &str); 15] = [
    ("Package", "name"),
    ("Version", "version"),
    ("Architecture", "architecture"),
    ("Maintainer", "maintainer"),
    ("Installed-Size", "installed_kib"),
    ("Section", "section"),
    ("Priority", "priority"),
    ("Pre-Depends", "pre_depends"),
    ("Depends", "requires"),
    ("Recommends", "recommends"),
    ("Conflicts", "conflicts"),
    ("Replaces", "replaces"),
    ("Provides", "provides"),
    ("Homepage", "homepage"),
    ("Description", "description"),
];

pub(super) fn read(file: &mut dyn ReadSeek) -> Result<Contents, ReadError> {
    let members = ar::list(file).map_err(ReadError::at(AR))?;
    let mut deb = Deb::default();
    for member in &members {
        deb.take(member, file)?;
    }
    deb.contents(&members)
}

/// What the members tell.
#[derive(Default)]
struct Deb {
    version: String,
    /// Files of the control archive, by name.
    control: BTreeMap<String, String>,
    files: Files,
    /// MD5 of each file, for those that the control archive has a list of.
    md5: BTreeMap<String, String>,
    control_bytes: u64,
}

impl Deb {
    fn take(&mut self, member: &Listed, file: &mut dyn ReadSeek) -> Result<(), ReadError> {
        file.seek(SeekFrom::Start(member.at)).map_err(ReadError::at(AR))?;
        let mut from = file.take(member.length);
        match member.name.as_str() {
            "debian-binary" => {
                let text = decode::all(&mut from, AR, 64)?;
                self.version = String::from_utf8_lossy(&text).trim().to_owned();
                Ok(())
            }
            name if name.starts_with("control.tar") => {
                let from = decode::decoder(from, CONTROL, TEXT)?;
                tar::each(from, CONTROL, |path, found, from| {
                    self.control_bytes += found.size;
                    let text = decode::all(from, CONTROL, TEXT)?;
                    if self.control_bytes > TEXT {
                        return Err(ReadError::TooBig {
                            part: CONTROL,
                            limit: TEXT,
                            unit: "bytes",
                        });
                    }
                    let name = absolute(&path).trim_start_matches('/').to_owned();
                    self.control.insert(name, String::from_utf8_lossy(&text).into_owned());
                    Ok(())
                })
            }
            name if name.starts_with("data.tar") => self.data(from),
            _ => Ok(()),
        }
    }

    fn data(&mut self, from: impl Read) -> Result<(), ReadError> {
        let listed = self.control.contains_key("md5sums");
        let mut from = decode::decoder(from, DATA, UNPACKED)?;
        tar::each(&mut from, DATA, |path, mut found, from| {
            let path = absolute(&path);
            if found.kind == FoundKind::File && found.target.is_none() {
                let mut md5 = Md5::new();
                let mut also = |bytes: &[u8]| {
                    if listed {
                        md5.update(bytes);
                    }
                };
                found.sha256 = Some(self.files.hash(&path, from, found.size, &mut also)?);
                if listed {
                    self.md5.insert(path.clone(), hex::encode(md5.finalize()));
                }
            } else if let Some(target) =
                found.target.as_deref().filter(|_| found.kind == FoundKind::File)
            {
                // A hard link: it has the bytes of a file that came before.
                if let Some(sum) = self.md5.get(&absolute(target)).cloned() {
                    self.md5.insert(path.clone(), sum);
                }
            }
            self.files.add(path, found)
        })?;
        // What is after the last entry counts for the sums of what it was squeezed with.
        std::io::copy(&mut from, &mut std::io::sink()).map(drop).map_err(ReadError::at(DATA))
    }

    fn contents(mut self, members: &[Listed]) -> Result<Contents, ReadError> {
        let Some(control) = self.control.get("control") else {
            return Err(ReadError::damaged(CONTROL, "it has no file `control`"));
        };
        let paragraph = paragraph(control);
        let metadata = FIELDS.iter().filter_map(|(field, name)| {
            let value = paragraph.get(&field.to_ascii_lowercase())?;
            Some((*name, value.clone()))
        });
        let metadata = metadata.collect();
        for path in self.control.get("conffiles").map_or("", String::as_str).lines() {
            if let Some(found) = self.files.found.get_mut(path.trim()) {
                found.config = true;
            }
        }
        let settings = Settings::of(&self.files.kept);
        let scripts = SCRIPTS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.control.get(*name)?.clone())));
        let scripts = scripts.collect();
        let signatures = members.iter().filter(|member| member.name.starts_with("_gpg"));
        let signatures = signatures.map(|member| Signature {
            place: member.name.clone(),
            scheme: "openpgp",
            size: member.length,
        });
        let signatures = signatures.collect();
        let once = Check::of_many("each path once", &self.files.twice);
        let checks = vec![self.structure(members), self.sums(), once];
        let files = std::mem::take(&mut self.files.found);
        Ok(Contents { kind: Kind::Deb, metadata, files, scripts, signatures, settings, checks })
    }

    /// The members that dpkg wants, in its order.
    fn structure(&self, members: &[Listed]) -> Check {
        let known = members.iter().filter(|member| !member.name.starts_with('_'));
        let names: Vec<_> = known.map(|member| member.name.as_str()).collect();
        let fits = matches!(names.as_slice(), ["debian-binary", control, data]
            if control.starts_with("control.tar") && data.starts_with("data.tar"));
        let outcome = match (fits, self.version.starts_with("2.")) {
            (true, true) => Outcome::Passed,
            (true, false) => Outcome::Failed(format!("its version is `{}`", self.version)),
            (false, _) => Outcome::Failed(format!("its members are {}", names.join(", "))),
        };
        Check::new("members of the archive", outcome)
    }

    /// The list of MD5s, if there is one.
    fn sums(&self) -> Check {
        const WHAT: &str = "md5sums";
        let Some(list) = self.control.get("md5sums") else {
            let reason = "dpkg makes the list itself when it unpacks";
            return Check::new(WHAT, Outcome::Absent(reason.to_owned()));
        };
        let mut wrong = Vec::new();
        for (sum, path) in list.lines().filter_map(|line| line.split_once(char::is_whitespace)) {
            let path = absolute(path.trim());
            match self.md5.get(&path) {
                Some(found) if found.eq_ignore_ascii_case(sum) => {}
                Some(_) => wrong.push(format!("`{path}` has another MD5")),
                None => wrong.push(format!("`{path}` is listed and not there")),
            }
        }
        Check::of_many(WHAT, &wrong)
    }
}

/// The first paragraph of deb822(5), names in lower case.
fn paragraph(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = fields.get_mut(&last) {
                let more = line.trim();
                value.push('\n');
                value.push_str(if more == "." { "" } else { more });
            }
        } else if let Some((name, value)) = line.split_once(':') {
            last = name.trim().to_ascii_lowercase();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    fields
}
