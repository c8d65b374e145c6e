//! From flags to an [`Order`]: the one place where they are checked, all of them at once.

use std::{fmt::Display, path::Path};

use camino::Utf8PathBuf;
use etcetera::BaseStrategy as _;
use packager::{Draft, PackageSpec, payload::Arch, sign::Keys};
use semver::Version;
use update::{Channel, Connection, Location, RepositoryConfig};
use wire::settings::{Channels, DEFAULT_UPDATE_INTERVAL, parse_duration, secret_from_file_text};

use super::{
    args::{AgentArgs, ArtifactArgs, PackageArgs, ServerArgs, UpdateArgs},
    files::{Files, read_text, unreadable},
    flags,
    order::{Destination, Order, Origin, Tracks, Type},
};
use crate::{config::Environment, exit::Stop};

/// Checks everything that is to be built, all of it at once.
pub(crate) fn orders(all: &[PackageArgs], environment: &Environment) -> Result<Vec<Order>, Stop> {
    let mut problems = Vec::new();
    let mut orders = Vec::new();
    for args in all {
        match order(args, environment) {
            Ok(order) => orders.push(order),
            Err(Stop::Usage { problems: its, .. }) => {
                problems.extend(
                    its.into_iter().filter(|it| !problems.contains(it)).collect::<Vec<_>>(),
                );
            }
            Err(other) => return Err(other),
        }
    }
    let shown = orders.iter().filter(|order| order.destination == Destination::Nowhere).count();
    if shown > 0 && shown < orders.len() {
        problems.push("--dry-run is for every build of --spec or for none".to_owned());
    }
    if problems.is_empty() { Ok(orders) } else { Err(Stop::Usage { problems, help: None }) }
}

/// Checks `args`. Reads the files that they name, and nothing else.
fn order(args: &PackageArgs, environment: &Environment) -> Result<Order, Stop> {
    let mut check = Check::default();
    check.problems.extend(args.refused.reasons());
    if args.types.is_empty() {
        check
            .problems
            .push("--type must say what to build, here or as `type` in --spec".to_owned());
    }
    let types = check.each(&args.types, Type::parse);
    let archs = check.each(&args.archs, |text| {
        text.parse().map_err(|error: packager::SpecError| format!("--arch: {error}"))
    });
    let files = check.files(args);
    let secret = check.secret(&args.server, environment);
    let origin = check.origin(&args.update, &files, args.server.insecure);
    let channels = check.tracks(&args.update);
    let destination = check.destination(&args.artifact, &types, &archs);
    let draft = check.draft(args, files, secret);
    let artifact = &args.artifact;
    let version =
        check.flag("--package-version", artifact.package_version.as_deref(), Version::parse);
    let compression = check.flag("--compression", artifact.compression.as_deref(), str::parse);
    let date = check.flag("SOURCE_DATE_EPOCH", environment.source_date.as_deref(), str::parse);
    let identifier = check.flag("--identifier", args.macos.identifier.as_deref(), str::parse);
    let spec = check.spec(draft, args);
    check.macos(args, &types, compression);
    check.windows(&types, compression);
    check.exposed(&types, spec.as_ref());
    let notary = check.notary(args, &types);
    let entitlements = check.entitlements(args);
    let keys = check.keys(args, &types, environment);
    match (spec, origin, channels, check.problems.is_empty()) {
        (Some(spec), Some(origin), Some(channels), true) => Ok(Order {
            spec,
            types,
            archs,
            origin,
            channels,
            with_osqueryd: !args.agent.without_osqueryd,
            destination,
            version,
            sbom: artifact.sbom,
            compression,
            identifier: identifier.unwrap_or_default(),
            date,
            keys,
            entitlements,
            notary,
        }),
        _ => Err(Stop::Usage { problems: check.problems, help: None }),
    }
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Check {
    pub(super) problems: Vec<String>,
}

impl Check {
    /// Asks for a passphrase only if nothing else is wrong.
    fn keys(&mut self, args: &PackageArgs, types: &[Type], environment: &Environment) -> Keys {
        let mut keys = Keys::default();
        let flag = args.openpgp.openpgp_key.is_some();
        if !types.iter().any(|kind| matches!(kind, Type::Deb | Type::Rpm)) {
            if flag {
                let problem = "--openpgp-key is for packages of type deb and rpm";
                self.problems.push(problem.to_owned());
            }
        } else if self.problems.is_empty() || !args.openpgp.asks(&environment.openpgp) {
            keys.openpgp = self.ok(args.openpgp.key(&environment.openpgp)).flatten();
            let unread = keys.openpgp.as_ref().is_some_and(|key| !key.every_rpm_verifies());
            if unread && types.contains(&Type::Rpm) {
                let problem = "the OpenPGP key is on a curve of NIST, which rpm does not verify on RHEL 9 and Debian: give one of RSA or Ed25519";
                self.problems.push(problem.to_owned());
            }
        }
        self.code_keys(&args.code, types, &mut keys);
        keys
    }

    /// On a Mac and on Windows every user can read what a service is started with.
    fn exposed(&mut self, types: &[Type], spec: Option<&PackageSpec>) {
        for kind in types.iter().filter(|kind| matches!(kind, Type::Msi | Type::Pkg)) {
            let urls = spec.into_iter().flat_map(|spec| spec.settings().with_password());
            self.problems.extend(urls.map(|what| {
                let kind = kind.name();
                format!("the {what} has a password in it, which every user could read where a {kind} is installed")
            }));
        }
    }

    pub(super) fn ok<T, E: Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problems.push(error.to_string())).ok()
    }

    /// What `parse` makes of a flag's value, if there is one.
    fn flag<T, E: Display>(
        &mut self,
        flag: &str,
        value: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = value?;
        self.ok(parse(value).map_err(|reason| match reason.to_string() {
            reason if reason.contains(value) => format!("{flag}: {reason}"),
            reason => format!("{flag} `{value}` cannot be used: {reason}"),
        }))
    }

    /// Each value of a list, once.
    fn each<T: PartialEq, E: Display>(
        &mut self,
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for value in texts.iter().filter_map(|text| self.ok(parse(text))).collect::<Vec<_>>() {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// The secret of a flag, of a file, or of the environment. One that cannot be read stands in
    /// as its flag's name, so that nothing is said about it being missing.
    fn secret(&mut self, server: &ServerArgs, environment: &Environment) -> Option<String> {
        match (&server.enroll_secret, &server.enroll_secret_file) {
            (Some(secret), None) => Some(secret.0.clone()),
            (None, Some(path)) => {
                Some(self.secret_in(path).unwrap_or_else(|| "--enroll-secret-file".to_owned()))
            }
            (Some(secret), Some(_)) => {
                let both = "--enroll-secret and --enroll-secret-file contradict each other";
                self.problems.push(both.to_owned());
                Some(secret.0.clone())
            }
            (None, None) => environment.enroll_secret.as_ref().map(|secret| secret.0.clone()),
        }
    }

    fn secret_in(&mut self, path: &Path) -> Option<String> {
        let flag = "--enroll-secret-file";
        let text = self.ok(read_text(path).map_err(|error| unreadable(flag, path, &error)))?;
        let secret = secret_from_file_text(&text);
        let secret = self.ok(secret.map_err(|error| {
            format!("{flag} `{}` holds no enroll secret: {error}", path.display())
        }))?;
        Some(secret.expose().to_owned())
    }

    fn origin(&mut self, update: &UpdateArgs, files: &Files, insecure: bool) -> Option<Origin> {
        if let Some(folder) = &update.components {
            let folder = self.utf8("--components", folder)?;
            if !folder.is_dir() {
                self.problems.push(format!("--components `{folder}` is not a folder"));
            }
            return Some(Origin::Folder(folder));
        }
        let missing = "--update-url (a repository) or --components (a folder) must say where programs come from, unless you are signed in to a server that publishes them (`fleetctl login`)";
        let url = self.ok(update.update_url.as_deref().ok_or(missing))?;
        // The value itself may carry a password, so it is not told.
        let location = url.parse::<Location>().map_err(|reason| format!("--update-url: {reason}"));
        let location = self.ok(location);
        let missing = "--update-roots must say which repository to trust";
        let given = files.update_root.clone().filter(|_| update.update_roots.is_some());
        let root = match (given, &update.update_roots) {
            (None, None) => self.ok(Err(missing)),
            (root, _) => root,
        };
        let cache_dir = self.cache_dir(update.cache_dir.as_deref());
        Some(Origin::Repository(Box::new(RepositoryConfig {
            location: location?,
            pinned_root: root?.to_vec(),
            cache_dir: cache_dir?,
            connection: Connection {
                ca_pem: files.update_certificate.as_deref().map(<[u8]>::to_vec),
                identity_pem: files.update_client.joined(),
                insecure,
                ..Connection::default()
            },
            offline: update.offline,
        })))
    }

    fn cache_dir(&mut self, given: Option<&Path>) -> Option<Utf8PathBuf> {
        if let Some(path) = given {
            return self.utf8("--cache-dir", path);
        }
        let folders = etcetera::choose_base_strategy();
        let folders =
            self.ok(folders.map_err(|_| "no home directory to cache in: give --cache-dir"))?;
        self.utf8("--cache-dir", &folders.cache_dir().join("fleetctl"))
    }

    fn utf8(&mut self, flag: &str, path: &Path) -> Option<Utf8PathBuf> {
        let utf8 = Utf8PathBuf::from_path_buf(path.to_owned());
        self.ok(utf8.map_err(|path| format!("{flag} `{}` is not UTF-8", path.display())))
    }

    fn tracks(&mut self, update: &UpdateArgs) -> Option<Tracks> {
        let mut channel = |flag, text: &str| self.flag(flag, Some(text), str::parse::<Channel>);
        let orbit = channel("--orbit-channel", &update.orbit_channel);
        let osqueryd = channel("--osqueryd-channel", &update.osqueryd_channel);
        let desktop = channel("--desktop-channel", &update.desktop_channel);
        Some(Tracks { orbit: orbit?, osqueryd: osqueryd?, desktop: desktop? })
    }

    fn destination(
        &mut self,
        artifact: &ArtifactArgs,
        types: &[Type],
        archs: &[Arch],
    ) -> Destination {
        if artifact.outfile.is_some() && artifact.out_dir.is_some() {
            self.problems.push("--outfile and --out-dir contradict each other".to_owned());
        }
        if let Some(file) = &artifact.outfile {
            self.outfile(file, types, archs);
        }
        if artifact.dry_run {
            return Destination::Nowhere;
        }
        let named = [("--outfile", &artifact.outfile), ("--out-dir", &artifact.out_dir)];
        for (flag, path) in named {
            path.as_deref().and_then(|path| self.utf8(flag, path));
        }
        match (&artifact.outfile, &artifact.out_dir) {
            (Some(file), _) => Destination::File(file.clone()),
            (None, Some(folder)) => Destination::Folder(folder.clone()),
            (None, None) if artifact.native_tooling => Destination::Folder("build".into()),
            (None, None) => Destination::Folder(".".into()),
        }
    }

    fn outfile(&mut self, file: &Path, types: &[Type], archs: &[Arch]) {
        let shown = file.display();
        if types.iter().map(|kind| kind.platforms(archs).len()).sum::<usize>() > 1 {
            self.problems.push("--outfile names one file, but several are asked for".to_owned());
        }
        if let [only] = types {
            let ends = file.extension().is_some_and(|extension| extension == only.name());
            if !ends {
                self.problems.push(format!("--outfile `{shown}` does not end in .{}", only.name()));
            }
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            self.problems.push(format!("--outfile `{shown}` is in a folder that is not there"));
        }
    }

    fn draft(&mut self, args: &PackageArgs, files: Files, secret: Option<String>) -> Draft {
        let PackageArgs { server, agent, update, .. } = args;
        let interval =
            self.flag("--update-interval", Some(&update.update_interval), parse_duration);
        Draft {
            fleet_url: server.fleet_url.clone(),
            enroll_secret: secret,
            fleet_certificate: files.fleet_certificate,
            client_certificate: files.client.certificate,
            client_key: files.client.key,
            insecure: server.insecure,
            update_url: update.update_url.clone().filter(|url| is_remote(url)),
            update_root: files.update_root,
            update_certificate: files.update_certificate,
            update_client_certificate: files.update_client.certificate,
            update_client_key: files.update_client.key,
            update_interval: interval.unwrap_or(DEFAULT_UPDATE_INTERVAL),
            disable_updates: update.disable_updates,
            channels: Channels {
                orbit: update.orbit_channel.clone(),
                osqueryd: update.osqueryd_channel.clone(),
                desktop: update.desktop_channel.clone(),
            },
            proxy: server.proxy.clone(),
            no_proxy: server.no_proxy.clone(),
            osquery_flags: files.osquery_flags,
            maintainer: args.artifact.maintainer.clone(),
            homepage: args.artifact.homepage.clone(),
            use_system_configuration: args.macos.use_system_configuration,
            ..self.agent(agent)
        }
    }

    fn agent(&mut self, agent: &AgentArgs) -> Draft {
        let identifier = self.flag("--host-identifier", Some(&agent.host_identifier), str::parse);
        Draft {
            osquery_db: agent.osquery_db.clone(),
            host_identifier: identifier.unwrap_or_default(),
            end_user_email: agent.end_user_email.clone(),
            enable_scripts: agent.enable_scripts,
            disable_setup_experience: agent.disable_setup_experience,
            disable_keystore: agent.disable_keystore,
            device_key: agent.device_key,
            bypass_end_user_auth: agent.bypass_end_user_auth,
            fleet_desktop: agent.fleet_desktop,
            browser_host: agent.fleet_desktop_alternative_browser_host.clone(),
            debug: agent.debug,
            service: agent.service,
            cpu_quota: self.flag("--cpu-quota", agent.cpu_quota.as_deref(), percent),
            ..Draft::default()
        }
    }

    fn spec(&mut self, draft: Draft, args: &PackageArgs) -> Option<PackageSpec> {
        PackageSpec::try_from(draft)
            .map_err(|errors| {
                self.problems.extend(errors.0.iter().map(|error| flags::told(error, args)));
            })
            .ok()
    }
}

/// Whether the agent can use it too: a folder of this machine is no use on a device.
fn is_remote(url: &str) -> bool {
    !matches!(url.parse::<Location>(), Ok(Location::Directory(_)))
}

/// Whether that many can be is the spec's to say; more than fit are too many as well.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it is not a number of percent".to_owned());
    }
    Ok(number.parse().unwrap_or(u32::MAX))
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
