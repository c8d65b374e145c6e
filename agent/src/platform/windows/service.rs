//! The service: started, stopped and asked by the service control manager, SCM.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use windows_registry::LOCAL_MACHINE;
use windows_service::{
    define_windows_service,
    service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
        ServiceType,
    },
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};

use crate::{config::EX_CONFIG, platform::Notice};

/// What SCM knows the service by.
pub const SERVICE: &str = "orbit";

/// Where SCM keeps what it knows of the service.
pub const REGISTRY: &str = r"SYSTEM\CurrentControlSet\Services\orbit";

/// The value there with the variables that the service starts with.
pub const ENVIRONMENT: &str = "Environment";

/// How long SCM waits for the agent to end before it takes it for hung: more than osqueryd's grace
/// and the agent's together.
const STOPPING: Duration = Duration::from_secs(20);

/// How long SCM waits for the first sign of readiness.
const STARTING: Duration = Duration::from_secs(30);

/// The body of the service: runs the agent and gives back the exit code.
type Body = Box<dyn Fn() -> u8 + Send + Sync>;

static BODY: OnceLock<Body> = OnceLock::new();
static EXIT: AtomicU8 = AtomicU8::new(0);
static STATUS: OnceLock<ServiceStatusHandle> = OnceLock::new();
static STOP: Notify = Notify::const_new();

define_windows_service!(service_main, serve);

/// Why there is no service to run.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not speak with the service manager, which alone starts this; people use `orbit run`"
)]
pub struct ServiceError(#[from] windows_service::Error);

/// Runs `body` as the service that SCM has started this process for, and gives back its exit code.
/// Call it once.
pub fn run(body: impl Fn() -> u8 + Send + Sync + 'static) -> Result<u8, ServiceError> {
    let _ = BODY.set(Box::new(body));
    service_dispatcher::start(SERVICE, service_main)?;
    Ok(EXIT.load(Ordering::SeqCst))
}

fn serve(_arguments: Vec<OsString>) {
    let Ok(status) = service_control_handler::register(SERVICE, control) else { return };
    let _ = STATUS.set(status);
    show(ServiceState::StartPending, STARTING, ServiceExitCode::NO_ERROR);
    let code = BODY.get().map_or(1, |body| body());
    EXIT.store(code, Ordering::SeqCst);
    show(ServiceState::Stopped, Duration::ZERO, shown_code(code));
}

/// SCM starts again what ends with a failure. Settings that cannot be used are for a person to mend,
/// and the log tells them.
fn shown_code(code: u8) -> ServiceExitCode {
    match code {
        0 | EX_CONFIG => ServiceExitCode::NO_ERROR,
        code => ServiceExitCode::ServiceSpecific(code.into()),
    }
}

/// Called by SCM on a thread of its own.
fn control(control: ServiceControl) -> ServiceControlHandlerResult {
    if matches!(
        control,
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown
    ) {
        show(ServiceState::StopPending, STOPPING, ServiceExitCode::NO_ERROR);
        STOP.notify_one();
        return ServiceControlHandlerResult::NoError;
    }
    if matches!(control, ServiceControl::Interrogate) {
        return ServiceControlHandlerResult::NoError;
    }
    ServiceControlHandlerResult::NotImplemented
}

/// Asks the agent to stop, as SCM would.
pub(super) fn request_stop() {
    STOP.notify_one();
}

/// Waits until SCM asks the service to stop; for ever where there is no service.
pub(super) async fn stop_requested() {
    STOP.notified().await;
}

/// Tells SCM how the agent does, if SCM has started it.
pub(super) fn report(notice: Notice<'_>) {
    match notice {
        Notice::Ready => show(ServiceState::Running, Duration::ZERO, ServiceExitCode::NO_ERROR),
        Notice::Stopping => show(ServiceState::StopPending, STOPPING, ServiceExitCode::NO_ERROR),
        Notice::Status(_) | Notice::Alive => {}
    }
}

fn show(state: ServiceState, wait_hint: Duration, exit_code: ServiceExitCode) {
    let Some(status) = STATUS.get() else { return };
    let pending = matches!(state, ServiceState::StartPending | ServiceState::StopPending);
    let accepted = if state == ServiceState::Running {
        ServiceControlAccept::STOP
            | ServiceControlAccept::SHUTDOWN
            | ServiceControlAccept::PRESHUTDOWN
    } else {
        ServiceControlAccept::empty()
    };
    let shown = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code,
        checkpoint: u32::from(pending),
        wait_hint,
        process_id: None,
    });
    if let Err(error) = shown {
        tracing::debug!("could not tell the service manager: {error}");
    }
}

/// The variables that SCM starts the service with.
pub fn environment() -> io::Result<BTreeMap<String, String>> {
    let key = LOCAL_MACHINE.options().read().open(REGISTRY).map_err(io::Error::from)?;
    let lines = match key.get_multi_string(ENVIRONMENT).map_err(io::Error::from) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
