//! What goes with packages of type pkg alone, and what does not go with them.

use packager::{Compression, format::pkg::Gzip};

use super::{args::PackageArgs, check::Check, order::Type};

impl Check {
    pub(super) fn macos(
        &mut self,
        args: &PackageArgs,
        types: &[Type],
        compression: Option<Compression>,
    ) {
        if !types.contains(&Type::Pkg) {
            if args.macos.identifier.is_some() {
                self.problems.push("--identifier is for packages of type pkg".to_owned());
            }
            if args.macos.use_system_configuration {
                let other = "--use-system-configuration is for packages of type pkg";
                self.problems.push(other.to_owned());
            }
            return;
        }
        if let Some(compression) = compression.filter(|it| Gzip::new(*it).is_none()) {
            self.problems.push(format!(
                "--compression {compression} does not go with --type pkg: macOS unpacks gzip alone"
            ));
        }
    }
}
