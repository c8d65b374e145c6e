//! What programs may do on macOS that others may not, as flags say it.

use std::{collections::BTreeMap, fs};

use packager::{ComponentKind, sign::macho};

use super::super::{args::PackageArgs, check::Check, files::unreadable};

/// Property lists, by the component whose program they are for.
#[derive(Debug, Default)]
pub(crate) struct Entitlements(BTreeMap<ComponentKind, Vec<u8>>);

impl Entitlements {
    pub(super) fn of(&self, kind: ComponentKind) -> Option<&[u8]> {
        self.0.get(&kind).map(Vec::as_slice)
    }
}

impl Check {
    /// The files that flags name, read.
    pub(in super::super) fn entitlements(&mut self, args: &PackageArgs) -> Entitlements {
        let mut all = BTreeMap::new();
        for kind in ComponentKind::ALL {
            let (flag, Some(path)) = args.code.entitlements(kind) else { continue };
            let is_packed = match kind {
                ComponentKind::Orbit => true,
                ComponentKind::Osqueryd => !args.agent.without_osqueryd,
                ComponentKind::Desktop => args.agent.fleet_desktop,
            };
            if !is_packed {
                self.problems.push(format!("{flag} is of no use: the package has no {kind}"));
            }
            if args.code.macos_certificate.is_none() {
                self.problems.push(format!("{flag} goes together with --macos-certificate"));
            }
            let xml = fs::read(path).map_err(|error| unreadable(flag, path, &error));
            let xml = xml.and_then(|xml| match macho::check_entitlements(&xml) {
                Ok(()) => Ok(xml),
                Err(error) => Err(format!("{flag} `{}` cannot be used: {error}", path.display())),
            });
            all.extend(self.ok(xml).map(|xml| (kind, xml)));
        }
        Entitlements(all)
    }
}
