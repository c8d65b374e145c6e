//! Where settings are read from, as often as somebody looks: they may come after the agent has started,
//! and change while it runs.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use camino::Utf8PathBuf;
use tokio::time;

use super::{Config, Sources};
use crate::{
    machine::{Backoff, Retry},
    platform,
};

/// Set by systemd for the services that are to tell it when they are ready.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Between two looks: at first often, as what is set up together comes together.
const LOOK: Retry = Retry { first: Duration::from_secs(1), most: Duration::from_secs(20) };

/// How long a change must last: somebody may be writing still.
const SETTLED: Duration = Duration::from_secs(1);

/// What settings are read from.
#[derive(Clone)]
pub struct Origin {
    flags: BTreeMap<&'static str, String>,
    env_file: Option<Utf8PathBuf>,
    /// What the service manager has started the agent with, where one can look what it would now.
    service: Option<BTreeMap<String, String>>,
    /// Why it could not be looked at when the agent was started.
    unread: Option<String>,
}

/// Shows no values: there may be a secret among them.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("flags", &self.flags.keys())
            .field("env_file", &self.env_file)
            .field("service", &self.service.as_ref().map(BTreeMap::keys))
            .finish()
    }
}

impl Origin {
    /// Of a process that a person has started, launchd or systemd: `flags` over its environment and,
    /// when named, an environment file below.
    #[must_use]
    pub fn of_process(
        flags: BTreeMap<&'static str, String>,
        env_file: Option<Utf8PathBuf>,
    ) -> Self {
        let origin = Self { flags, env_file, service: None, unread: None };
        let by_systemd = origin.read().lookup(NOTIFY_SOCKET).is_some();
        if by_systemd { origin.of_service() } else { origin }
    }

    /// The same for a service: what its manager has for it now counts, too.
    #[must_use]
    pub fn of_service(self) -> Self {
        match platform::installed_settings() {
            Ok(first) => Self { service: Some(first), ..self },
            Err(error) => {
                Self { service: Some(BTreeMap::new()), unread: Some(unread(&error)), ..self }
            }
        }
    }

    /// The settings that the process was started with. On Linux, where systemd has handed on what it could
    /// read, the agent begins with that; [`Self::trouble`] says what could not be.
    #[must_use]
    pub fn read(&self) -> Sources {
        let trouble = self.unread.clone().filter(|_| !cfg!(target_os = "linux"));
        self.read_with(trouble.map_or_else(|| Ok(self.service.clone().unwrap_or_default()), Err))
    }

    /// The settings as they are at this moment. Those that cannot be read are a problem: what the process
    /// was started with may be another server's.
    #[must_use]
    pub fn look(&self) -> Sources {
        let is_service = self.service.is_some();
        let now = if is_service { platform::installed_settings() } else { Ok(BTreeMap::new()) };
        self.read_with(now.map_err(|error| unread(&error)))
    }

    fn read_with(&self, now: Result<BTreeMap<String, String>, String>) -> Sources {
        let mut sources = Sources::of_process(self.flags.clone(), self.env_file.as_deref());
        match (&self.service, now) {
            (Some(first), Ok(now)) if cfg!(target_os = "linux") => {
                follow_unit(&mut sources.environment, first, &now);
            }
            (Some(first), Ok(now)) => follow_manager(&mut sources.environment, first, now),
            (None, Ok(_)) => {}
            (_, Err(problem)) => sources.problems.push(problem),
        }
        sources.read_profile();
        sources
    }

    /// What could not be read when the agent was started and is done without, for the log.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.unread.as_deref().filter(|_| cfg!(target_os = "linux"))
    }

    /// Whether there is anything that others could come from than the `sources` that were read. A
    /// process's environment stays as it is.
    #[must_use]
    pub fn may_change(&self, sources: &Sources) -> bool {
        self.service.is_some() || self.env_file.is_some() || sources.use_profile()
    }

    /// Waits as long as a change must last, and looks again. Needs a tokio runtime.
    pub async fn settled(&self) -> Sources {
        time::sleep(SETTLED).await;
        self.look()
    }

    /// Waits until other settings count than those of `before`, and can be used. What cannot be is told
    /// in the log and not taken; nor are `tried` ones, which turned out to be of no use. Needs a tokio
    /// runtime; never comes back where nothing can change.
    pub async fn changed(self, before: Sources, tried: Option<Sources>) -> Sources {
        let (mut looks, mut refused) = (Looks::default(), Vec::new());
        loop {
            looks.next().await;
            let seen = self.look();
            if seen.count_as(&before) || tried.as_ref().is_some_and(|tried| seen.count_as(tried)) {
                refused.clear();
                continue;
            }
            if !self.settled().await.count_as(&seen) {
                continue;
            }
            match Config::read(&seen) {
                Ok(_) => return seen,
                Err(error) if error.problems == refused => {}
                Err(error) => {
                    tracing::warn!("the settings have changed and stay as they were: {error}");
                    refused = error.problems;
                }
            }
        }
    }
}

fn unread(error: &io::Error) -> String {
    format!("could not read the settings: {error}")
}

/// What systemd would start the service with now, in the `environment` that it was started with: what
/// has come since `first`, changed or gone. What the unit's own files do not decide stays, as a drop-in of
/// the unit may have more variables, others or fewer.
fn follow_unit(
    environment: &mut BTreeMap<String, String>,
    first: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) {
    for name in first.keys().chain(now.keys()) {
        let (before, after) = (first.get(name), now.get(name));
        if before == after || environment.get(name) != before {
            continue;
        }
        match after {
            Some(value) => environment.insert(name.clone(), value.clone()),
            None => environment.remove(name),
        };
    }
}

/// The same for Windows, whose service manager has one place for variables. What was set beside it for
/// this device alone stays.
fn follow_manager(
    environment: &mut BTreeMap<String, String>,
    first: &BTreeMap<String, String>,
    now: BTreeMap<String, String>,
) {
    environment.retain(|name, value| now.contains_key(name) || first.get(name) != Some(&*value));
    for (name, value) in now {
        if first.get(&name) != Some(&value) || !environment.contains_key(&name) {
            environment.insert(name, value);
        }
    }
}

/// When to look the next time.
#[derive(Debug, Default)]
pub struct Looks(Backoff);

impl Looks {
    /// Waits until it is time for the next look. Needs a tokio runtime.
    pub async fn next(&mut self) {
        let pause = self.0.fail(LOOK);
        // Devices that have started together drift apart.
        time::sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_unit_follows_its_files_where_no_drop_in_overrules_them() {
        // `OWN` is from elsewhere, `B` is overruled there, and `UNSET` taken away.
        let environment = vars("A=1 B=own C=3 OWN=x");
        for (now, expected) in [
            ("A=1 B=2 C=3 UNSET=4", "A=1 B=own C=3 OWN=x"),
            ("A=1 B=9 C=4 UNSET=5 NEW=6", "A=1 B=own C=4 OWN=x NEW=6"),
            ("A=1 B=own OWN=y", "A=1 B=own OWN=x"),
            ("", "B=own OWN=x"),
        ] {
            let mut followed = environment.clone();
            follow_unit(&mut followed, &vars("A=1 B=2 C=3 UNSET=4"), &vars(now));
            assert_eq!(followed, vars(expected), "{now}");
        }
    }

    #[test]
    fn settings_that_cannot_be_read_are_a_problem_but_for_the_first_look_of_systemds_service() {
        let origin = |unread: Option<&str>| Origin {
            flags: BTreeMap::new(),
            env_file: None,
            service: Some(vars("A=1")),
            unread: unread.map(str::to_owned),
        };
        let first = origin(Some("no")).read();
        assert_eq!(first.problems.is_empty(), cfg!(target_os = "linux"), "{first:?}");
        assert_eq!(origin(Some("no")).trouble().is_some(), cfg!(target_os = "linux"));
        let [good, bad] =
            [Ok(vars("A=1")), Err("no".to_owned())].map(|it| origin(None).read_with(it));
        // The process's environment is all that is left of them, which is no other settings.
        assert!(!bad.count_as(&good), "{bad:?}");
        assert!(Config::read(&bad).unwrap_err().problems.contains(&"no".to_owned()));
    }

    #[test]
    fn a_service_follows_what_its_manager_has_for_it() {
        // `OWN` is from elsewhere, and `B` is overruled there.
        let environment = vars("A=1 B=own C=3 OWN=x");
        for (now, expected) in [
            ("A=1 B=2 C=3", "A=1 B=own C=3 OWN=x"),
            ("A=1 B=2 C=4 D=5", "A=1 B=own C=4 D=5 OWN=x"),
            ("A=1 B=9", "A=1 B=9 OWN=x"),
            ("", "B=own OWN=x"),
        ] {
            let mut followed = environment.clone();
            follow_manager(&mut followed, &vars("A=1 B=2 C=3"), vars(now));
            assert_eq!(followed, vars(expected), "{now}");
        }
        // What the manager has and did not hand on, as Wine's, counts all the same.
        let mut followed = vars("OWN=x");
        follow_manager(&mut followed, &vars("A=1"), vars("A=1"));
        assert_eq!(followed, vars("A=1 OWN=x"));
    }
}
