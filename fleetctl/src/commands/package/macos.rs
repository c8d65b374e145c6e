//! What goes with packages of type pkg alone, and what does not go with them.

use packager::{Compression, format::pkg::Gzip};

use super::{args::PackageArgs, check::Check, notarize::Notary, order::Type};

impl Check {
    /// Apple looks at signed packages alone, whose signatures have timestamps.
    pub(super) fn notary(&mut self, args: &PackageArgs, types: &[Type]) -> Option<Notary> {
        if !args.notarize {
            let stray = args.notary.stray();
            self.problems.extend(stray.map(|flag| format!("{flag} goes together with --notarize")));
            return None;
        }
        let code = &args.code;
        let installer =
            code.macos_installer_certificate.is_some() || code.macos_devid_pem_content.is_some();
        let needs = [
            (types.contains(&Type::Pkg), "--type pkg"),
            (installer, "--macos-installer-certificate"),
            (code.timestamp_url.is_some(), "--timestamp-url"),
        ];
        let missing = needs.iter().filter(|(given, _)| !given);
        self.problems.extend(missing.map(|(_, flag)| format!("--notarize needs {flag}")));
        if args.artifact.sbom {
            let problem = "--notarize and --sbom contradict each other: the ticket makes another \
                           file of the package than the one that its bill tells of";
            self.problems.push(problem.to_owned());
        }
        match args.notary.checked() {
            Ok(notary) => Some(notary),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

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
