//! Configuring the service: settings in the registry, the program that it runs, its end.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use windows_registry::{Key, LOCAL_MACHINE, OpenOptions};
use windows_service::{
    service::{
        Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceFailureActions,
        ServiceFailureResetPeriod, ServiceInfo, ServiceState, ServiceType,
    },
    service_manager::{ServiceManager, ServiceManagerAccess},
};
use wire::{
    EnrollSecret,
    settings::{self, vars},
};

use super::{
    InstallerError, Record, Variables, check, merge, packaged_settings, place_secret, pointers,
};
use crate::platform::{
    self,
    service::{ENVIRONMENT, REGISTRY, SERVICE},
};

/// Where the installer leaves the properties that it was called with, for administrators alone.
const STAGING: &str = r"SOFTWARE\fleetd\Installer";

/// Fleet's packages mean by it that no secret is given.
const NO_SECRET: &str = "dummy";

/// Properties of the installer, and the variables that they set.
const PROPERTIES: [(&str, &str); 17] = [
    ("FLEET_URL", vars::FLEET_URL),
    ("ENABLE_SCRIPTS", vars::ENABLE_SCRIPTS),
    ("FLEET_DESKTOP", vars::FLEET_DESKTOP),
    ("END_USER_EMAIL", vars::END_USER_EMAIL),
    ("BYPASS_END_USER_AUTH", vars::BYPASS_END_USER_AUTH),
    ("DISABLE_SETUP_EXPERIENCE", vars::DISABLE_SETUP_EXPERIENCE),
    ("DISABLE_KEYSTORE", vars::DISABLE_KEYSTORE),
    ("DEVICE_KEY", vars::DEVICE_KEY),
    ("HOST_IDENTIFIER", vars::HOST_IDENTIFIER),
    ("UPDATE_URL", vars::UPDATE_URL),
    ("UPDATE_INTERVAL", vars::UPDATE_INTERVAL),
    ("DISABLE_UPDATES", vars::DISABLE_UPDATES),
    ("DEBUG", vars::DEBUG),
    ("INSECURE", vars::INSECURE),
    ("OSQUERY_DB", vars::OSQUERY_DB),
    ("PROXY", vars::HTTPS_PROXY),
    ("NO_PROXY", vars::NO_PROXY),
];

/// What shows the icon in the sessions of whoever is signed in.
const ICON: &str = "fleet-desktop.exe";

/// How long a service that was asked to stop may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the service manager waits before it starts an agent again that has failed once, twice,
/// and more often.
const RESTARTS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

/// After so long without a failure the next counts as the first.
const FORGIVEN_AFTER: Duration = Duration::from_hours(24);

/// `ERROR_SERVICE_DOES_NOT_EXIST`.
const NO_SUCH_SERVICE: i32 = 1060;

/// `ERROR_SERVICE_NOT_ACTIVE`.
const NOT_ACTIVE: i32 = 1062;

/// `ERROR_INVALID_LEVEL`: the service manager does not know what it is asked for.
const UNKNOWN_REQUEST: i32 = 124;

/// What the person who installs has said.
#[derive(Default)]
struct Given {
    settings: Variables,
    secret: Option<EnrollSecret>,
}

impl Given {
    /// Reads what the installer has staged. All that cannot be used is told at once.
    fn staged() -> Result<Self, InstallerError> {
        let Some(key) = open_key(LOCAL_MACHINE.options().read(), STAGING)? else {
            return Ok(Self::default());
        };
        let values = key.values().map_err(|error| registry("read properties", error))?;
        let mut given = Self::default();
        let mut problems = Vec::new();
        for (name, value) in values {
            let text = String::try_from(value).unwrap_or_default();
            let text = text.strip_prefix('=').unwrap_or(&text);
            if !text.is_empty()
                && let Err(problem) = given.take(&name, text)
            {
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(given) } else { Err(InstallerError::Settings { problems }) }
    }

    fn take(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "FLEET_SECRET" if text == NO_SECRET => {}
            "FLEET_SECRET" => {
                let secret = EnrollSecret::new(text);
                self.secret = Some(secret.map_err(|error| format!("`{name}`: {error}"))?);
            }
            "FLEET_SECRET_FILE" => {
                let content = std::fs::read_to_string(text);
                let content = content.map_err(|error| format!("`{name}`, `{text}`: {error}"))?;
                let secret = settings::secret_from_file_text(&content);
                self.secret = Some(secret.map_err(|error| format!("`{name}`: {error}"))?);
            }
            _ => {
                let known = PROPERTIES.iter().find(|(property, _)| *property == name);
                let (_, variable) = known.ok_or_else(|| format!("`{name}` is no property"))?;
                self.settings.insert((*variable).to_owned(), text.to_owned());
            }
        }
        Ok(())
    }
}

/// Completes an installation below `root`: settings, enroll secret, and what the service runs.
pub fn configure(root: &Utf8Path) -> Result<(), InstallerError> {
    let given = Given::staged()?;
    let mut record = Record::load(root)?;
    let packaged = packaged_settings(root)?;
    let current = match record.aside.take() {
        Some(aside) => aside,
        None => environment()?,
    };
    let merged = merge(&record.settings, &current, &packaged, &given.settings);
    check(&merged, [&packaged, &given.settings])?;
    place_secret(root, given.secret.as_ref(), &mut record)?;
    set_environment(&merged)?;
    set_recovery()?;
    pointers::move_all(root)?;
    record.settings = packaged;
    record.save(root)?;
    forget_staged()
}

fn environment() -> Result<Variables, InstallerError> {
    platform::service::environment()
        .or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound { Ok(Variables::new()) } else { Err(error) }
        })
        .map_err(|source| InstallerError::Registry { what: "read the settings", source })
}

fn set_environment(settings: &Variables) -> Result<(), InstallerError> {
    let key = LOCAL_MACHINE.options().read().write().create().open(REGISTRY);
    let lines: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    key.and_then(|key| key.set_multi_string(ENVIRONMENT, &lines))
        .map_err(|error| registry("write the settings", error))
}

fn forget_staged() -> Result<(), InstallerError> {
    let (parent, name) = STAGING.rsplit_once('\\').expect("the constant is a path");
    let Some(parent) = open_key(LOCAL_MACHINE.options().read().write(), parent)? else {
        return Ok(());
    };
    match parent.remove_tree(name).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome
            .map_err(|source| InstallerError::Registry { what: "delete the properties", source }),
    }
}

/// None: there is no such key. One that cannot be opened may have something in it.
fn open_key(options: &mut OpenOptions<'_>, path: &str) -> Result<Option<Key>, InstallerError> {
    match options.wow64_64().open(path).map_err(io::Error::from) {
        Ok(key) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(registry("open the properties", error)),
    }
}

/// Has the service manager start an agent again that has crashed or ended with a failure. The
/// installer's own table for it cannot say that both count.
fn set_recovery() -> Result<(), InstallerError> {
    let Some(service) = open(ServiceAccess::CHANGE_CONFIG | ServiceAccess::START)? else {
        return Ok(());
    };
    service.update_failure_actions(recovery()).map_err(service_error("set the recovery of"))?;
    match service.set_failure_actions_on_non_crash_failures(true) {
        Err(error) if code(&error) == Some(UNKNOWN_REQUEST) => Ok(()),
        outcome => outcome.map_err(service_error("set the recovery of")),
    }
}

fn recovery() -> ServiceFailureActions {
    let restart = |delay| ServiceAction { action_type: ServiceActionType::Restart, delay };
    ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGIVEN_AFTER),
        reboot_msg: None,
        command: None,
        actions: Some(RESTARTS.map(restart).to_vec()),
    }
}

fn registry(what: &'static str, error: impl Into<io::Error>) -> InstallerError {
    InstallerError::Registry { what, source: error.into() }
}

/// Has the service run `program` from its next start on. A service that is not there is no failure:
/// there may be an installation without.
pub(crate) fn point_service(program: &Utf8Path) -> Result<(), InstallerError> {
    let Some(service) = open(ServiceAccess::CHANGE_CONFIG | ServiceAccess::QUERY_CONFIG)? else {
        return Ok(());
    };
    let now = service.query_config().map_err(service_error("read the configuration of"))?;
    let info = ServiceInfo {
        name: SERVICE.into(),
        display_name: now.display_name,
        service_type: ServiceType::OWN_PROCESS,
        start_type: now.start_type,
        error_control: now.error_control,
        executable_path: program.as_std_path().to_owned(),
        launch_arguments: vec!["service".into()],
        dependencies: now.dependencies,
        account_name: None,
        account_password: None,
    };
    service.change_config(&info).map_err(service_error("configure"))
}

/// The program that the service runs, if there is a service.
pub(crate) fn service_program() -> Option<Utf8PathBuf> {
    let service = open(ServiceAccess::QUERY_CONFIG).ok()??;
    let command = service.query_config().ok()?.executable_path;
    let command = Utf8PathBuf::from_path_buf(command).ok()?;
    // The command line of the service: the program, in quotation marks, and its argument.
    let text = command.as_str();
    let quoted = text.strip_prefix('"').and_then(|rest| rest.split('"').next());
    Some(quoted.unwrap_or_else(|| text.trim_end_matches(" service")).into())
}

/// Puts the settings aside, and stops the service. Both are fine where there is none. Icons end, too:
/// what runs cannot be replaced.
pub fn stop(root: &Utf8Path) -> Result<(), InstallerError> {
    platform::kill_all(ICON);
    let Some(service) = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)? else {
        return Ok(());
    };
    let mut record = Record::load(root)?;
    record.aside = Some(environment()?);
    record.save(root)?;
    let process = service.query_status().map_err(service_error("ask"))?.process_id;
    match service.stop() {
        Err(error) if code(&error) == Some(NOT_ACTIVE) => return Ok(()),
        outcome => outcome.map(|_| ()).map_err(service_error("stop"))?,
    }
    if !stopped_in_time(&service)?
        && let Some(process) = process
    {
        platform::kill(process);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an installer waits for the clock on the wall")]
fn stopped_in_time(service: &Service) -> Result<bool, InstallerError> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let status = service.query_status().map_err(service_error("ask"))?;
        if status.current_state == ServiceState::Stopped {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(false)
}

fn open(access: ServiceAccess) -> Result<Option<Service>, InstallerError> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
        .map_err(service_error("reach the manager of"))?;
    match manager.open_service(SERVICE, access) {
        Ok(service) => Ok(Some(service)),
        Err(error) if code(&error) == Some(NO_SUCH_SERVICE) => Ok(None),
        Err(error) => Err(service_error("open")(error)),
    }
}

fn code(error: &windows_service::Error) -> Option<i32> {
    match error {
        windows_service::Error::Winapi(error) => error.raw_os_error(),
        _ => None,
    }
}

fn service_error(what: &'static str) -> impl Fn(windows_service::Error) -> InstallerError {
    move |source| InstallerError::Service { what, source }
}
