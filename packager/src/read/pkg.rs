//! Reads a pkg: a product archive, or a component package alone. Source: Apple's "Distribution Definition XML
//! Schema Reference", and packages that pkgbuild and productbuild make.

mod bom;
mod code;
mod payload;
mod table;

use std::{collections::BTreeMap, io::Read};

use sha2::digest::{FixedOutput as _, Update as _};

pub use self::code::check_code;
use self::{
    bom::Bill,
    table::{Member, Table},
};
use super::{
    Check, Contents, Kind, Outcome, ReadSeek, Signature,
    cpio::{Cpio, Item},
    decode::{TEXT, UNPACKED, all, decoder, exactly},
    error::ReadError,
    files::{Files, Found, FoundKind, absolute},
    settings::Settings,
    xml::Element,
};
use crate::archive::bom::Cksum;

const SCRIPTS: &str = "archive of scripts";
const DOCUMENT: &str = "document";

pub(super) fn read(file: &mut dyn ReadSeek) -> Result<Contents, ReadError> {
    let table = Table::read(file)?;
    let mut pkg = Pkg { checks: table.check(file)?, ..Pkg::default() };
    for (path, member) in &table.members {
        let Some(component) = path.strip_suffix("PackageInfo") else { continue };
        let info = Element::parse(&text(file, member)?, DOCUMENT)?;
        pkg.component(file, &table, component, &info)?;
    }
    if let Some(member) = table.members.get("Distribution") {
        pkg.distribution(&Element::parse(&text(file, member)?, DOCUMENT)?);
    }
    if pkg.metadata.is_empty() {
        return Err(ReadError::damaged("archive", "it has neither Distribution nor PackageInfo"));
    }
    pkg.checks.push(Check::of_many("each path once", &pkg.files.twice));
    pkg.metadata.retain(|(_, value)| !value.is_empty());
    let signatures = table.signatures.into_iter();
    let signatures = signatures.map(|(place, scheme, size)| Signature { place, scheme, size });
    Ok(Contents {
        kind: Kind::Pkg,
        metadata: pkg.metadata,
        scripts: pkg.scripts,
        signatures: signatures.collect(),
        settings: Settings::of(&pkg.files.kept),
        files: pkg.files.found,
        checks: pkg.checks,
    })
}

fn text(file: &mut dyn ReadSeek, member: &Member) -> Result<Vec<u8>, ReadError> {
    all(&mut member.open(file)?, DOCUMENT, TEXT)
}

#[derive(Default)]
struct Pkg {
    metadata: Vec<(&'static str, String)>,
    scripts: BTreeMap<String, String>,
    files: Files,
    checks: Vec<Check>,
}

impl Pkg {
    /// What is said of the product; a component says the same of itself.
    fn distribution(&mut self, document: &Element) {
        let product = document.child("product");
        let attribute = |name| product.and_then(|it| it.attribute(name)).unwrap_or_default();
        let options = document.child("options");
        let archs = options.and_then(|it| it.attribute("hostArchitectures")).unwrap_or_default();
        let mut metadata = vec![
            ("name", document.text_of("title").to_owned()),
            ("version", attribute("version").to_owned()),
            ("architecture", archs.to_owned()),
            ("identifier", attribute("id").to_owned()),
        ];
        let said = |name: &str, metadata: &[(&str, String)]| {
            metadata.iter().any(|(its, value)| *its == name && !value.is_empty())
        };
        let components = std::mem::take(&mut self.metadata).into_iter();
        let more = components.filter(|(name, _)| !said(name, &metadata)).collect::<Vec<_>>();
        metadata.extend(more);
        self.metadata = metadata;
    }

    /// The component whose files are below the folder `place` of the archive.
    fn component(
        &mut self,
        file: &mut dyn ReadSeek,
        table: &Table,
        place: &str,
        info: &Element,
    ) -> Result<(), ReadError> {
        let attribute = |name| info.attribute(name).unwrap_or_default().to_owned();
        self.metadata.extend([
            ("component", attribute("identifier")),
            ("version", attribute("version")),
            ("install_location", attribute("install-location")),
        ]);
        let member = |name: &str| table.members.get(&format!("{place}{name}"));
        if let Some(member) = member("Scripts") {
            self.read_scripts(&mut member.open(file)?, place)?;
        }
        let bill = match member("Bom") {
            Some(member) => Some(Bill::read(&mut member.open(file)?)?),
            None => None,
        };
        if let Some(member) = member("Payload") {
            let location = absolute(info.attribute("install-location").unwrap_or("/"));
            let wrong = self.payload(
                &mut member.open(file)?,
                location.trim_end_matches('/'),
                bill.as_ref(),
            )?;
            let what = format!("{place}Payload against its Bom");
            self.checks.push(match bill {
                Some(_) => Check::of_many(what, &wrong),
                None => Check::new(what, Outcome::Absent("there is no Bom".to_owned())),
            });
        }
        Ok(())
    }

    fn read_scripts(&mut self, from: &mut dyn Read, place: &str) -> Result<(), ReadError> {
        let mut cpio = Cpio::new(decoder(from, SCRIPTS, TEXT)?);
        while let Some(item) = cpio.next()? {
            let Item::Named { path, found } = item else {
                return Err(ReadError::damaged(SCRIPTS, "an entry has no name"));
            };
            let text = exactly(cpio.from(), SCRIPTS, found.size, TEXT)?;
            cpio.end(found.size)?;
            if found.kind == FoundKind::File {
                let name = format!("{place}{}", absolute(&path).trim_start_matches('/'));
                self.scripts.insert(name, String::from_utf8_lossy(&text).into_owned());
            }
        }
        Ok(())
    }

    /// Gives what is different from the `bill`.
    fn payload(
        &mut self,
        from: &mut dyn Read,
        location: &str,
        bill: Option<&Bill>,
    ) -> Result<Vec<String>, ReadError> {
        let mut comparing = bill.map(Bill::comparing);
        let text = decoder(payload::unchunked(from)?, payload::PART, UNPACKED)?;
        let mut cpio = Cpio::new(text);
        while let Some(item) = cpio.next()? {
            let Item::Named { path, mut found } = item else {
                return Err(ReadError::damaged(payload::PART, "an entry has no name"));
            };
            let (inside, size) = (absolute(&path), found.size);
            let path = absolute(&format!("{location}{inside}"));
            let checksum = self.read_file(&path, &mut found, cpio.from())?;
            cpio.end(size)?;
            if let Some(comparing) = &mut comparing {
                comparing.compare(&inside, &found, checksum);
            }
            if path != "/" {
                self.files.add(path, found)?;
            }
        }
        let mut rest = cpio.into_inner();
        std::io::copy(&mut rest, &mut std::io::sink()).map_err(ReadError::at(payload::PART))?;
        Ok(comparing.map(bom::Comparing::finish).unwrap_or_default())
    }

    /// Gives the file's POSIX checksum.
    fn read_file(
        &mut self,
        path: &str,
        found: &mut Found,
        from: &mut dyn Read,
    ) -> Result<Option<u32>, ReadError> {
        const MAX_TARGET: u64 = 64 << 10;
        if found.kind == FoundKind::Symlink {
            let target = exactly(from, payload::PART, found.size, MAX_TARGET)?;
            found.target = Some(String::from_utf8_lossy(&target).into_owned());
            found.size = 0;
            return Ok(None);
        }
        let mut cksum = Cksum::default();
        let sha256 = self.files.hash(path, from, found.size, &mut |bytes| cksum.update(bytes))?;
        if found.kind != FoundKind::File {
            return Ok(None);
        }
        found.sha256 = Some(sha256);
        Ok(Some(u32::from_be_bytes(cksum.finalize_fixed().into())))
    }
}
