//! Programs in the session of whoever sits at the device. Their own service manager runs them: with their
//! environment, in none of the agent's sandbox, and what they start in turn outlives them.

use std::{env, process::Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::{process::Command, time};
use uuid::Uuid;

use super::{PATIENCE, console_user, loginctl};

/// All that `fleet-desktop` ever was to that service manager. Each has a name of its own: one that has left a
/// browser behind keeps its name for as long as that runs.
const UNITS: &str = "fleet-desktop-*.service";

/// The session of somebody who sits at the device and has a service manager of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    user: u32,
    group: u32,
    /// Where their service manager listens.
    runtime: Utf8PathBuf,
}

/// Who sits at the device; none where programs cannot be started for them. Needs a tokio runtime.
pub async fn session() -> Option<Session> {
    let user = console_user().await?;
    let name = user.to_string();
    let known = loginctl(&["show-user", &name, "--property=GID", "--property=RuntimePath"]).await?;
    session_of(user, &known).filter(|it| {
        it.runtime.join("systemd").join("private").exists() && it.runtime.join("bus").exists()
    })
}

/// Of the properties that `loginctl show-user` prints.
fn session_of(user: u32, properties: &str) -> Option<Session> {
    let property =
        |name: &str| properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let group = property("GID")?.parse().ok()?;
    let runtime = Utf8PathBuf::from(property("RuntimePath")?);
    runtime.is_absolute().then_some(Session { user, group, runtime })
}

impl Session {
    /// What runs for as long as `program` does, which shows the icon of the agent below `root`.
    #[must_use]
    pub fn show_icon(&self, program: &Utf8Path, root: &Utf8Path) -> Command {
        let mut command = self.command("systemd-run");
        let unit = UNITS.replace('*', &Uuid::new_v4().simple().to_string());
        command.args(["--user", "--quiet", "--collect", "--wait", "--unit", &unit]);
        // A browser that it opens stays when it ends.
        command.args(["--property=KillMode=process", "--description=Fleet", "--"]);
        command.args([program.as_str(), "tray", "--root-dir", root.as_str()]);
        command
    }

    /// Ends it, whoever has started it.
    pub async fn hide_icon(&self) {
        let mut stop = self.command("systemctl");
        stop.args(["--user", "--quiet", "stop", UNITS]).stderr(Stdio::null());
        // One that does not run is no failure, and whether it does is seen by what was started.
        let _ = time::timeout(PATIENCE, stop.status()).await;
    }

    /// `program`, run as that user, who can read its environment.
    fn command(&self, program: &str) -> Command {
        #[expect(clippy::disallowed_methods, reason = "where programs are is no setting")]
        let path = env::var_os("PATH");
        let mut command = Command::new(program);
        command.env_clear().envs(path.map(|path| ("PATH", path)));
        command.env("XDG_RUNTIME_DIR", &self.runtime);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        if crate::platform::is_administrator() {
            command.uid(self.user).gid(self.group);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_what_logind_says_of_its_user() {
        let session = session_of(1000, "GID=100\nRuntimePath=/run/user/1000").unwrap();
        assert_eq!((session.group, session.runtime.as_str()), (100, "/run/user/1000"));
        let unit = || {
            let command = session.show_icon("/d".into(), "/r".into());
            let unit =
                command.as_std().get_args().find(|it| it.as_encoded_bytes().ends_with(b".service"));
            unit.unwrap().to_owned()
        };
        assert_ne!(unit(), unit(), "one that left something behind keeps its name");
        for wrong in ["", "GID=100", "GID=100\nRuntimePath=", "GID=x\nRuntimePath=/run/user/1000"] {
            assert_eq!(session_of(1000, wrong), None, "{wrong}");
        }
    }
}
