//! What goes with packages of type pkg alone, and what does not go with them.

use packager::{Compression, PackageSpec, format::pkg::Gzip};

use super::{args::PackageArgs, check::Check, order::Type};

impl Check {
    pub(super) fn macos(
        &mut self,
        args: &PackageArgs,
        types: &[Type],
        compression: Option<Compression>,
        spec: Option<&PackageSpec>,
    ) {
        let (macos, server) = (&args.macos, &args.server);
        let flags = [
            ("--identifier", macos.identifier.is_some()),
            ("--use-system-configuration", macos.use_system_configuration),
        ];
        if !types.contains(&Type::Pkg) {
            let given = flags.into_iter().filter(|(_, given)| *given);
            let problem = |(flag, _)| format!("{flag} is for packages of type pkg");
            return self.problems.extend(given.map(problem));
        }
        if macos.use_system_configuration && server.fleet_url.is_some() {
            let both = "--use-system-configuration and --fleet-url contradict each other";
            self.problems.push(both.to_owned());
        }
        if let Some(compression) = compression.filter(|it| Gzip::new(*it).is_none()) {
            self.problems.push(format!(
                "--compression {compression} does not go with --type pkg: macOS unpacks gzip alone"
            ));
        }
        let exposed = spec.into_iter().flat_map(PackageSpec::with_password);
        self.problems.extend(exposed.map(|what| {
            format!("the {what} has a password in it, which everybody on a Mac could read")
        }));
    }
}
