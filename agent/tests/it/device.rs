//! A device for tests: a root directory, a made-up system, and an agent that runs in this process.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use agent::{
    config::{Config, ConfigError, Sources},
    driver::Agent,
    log::{self, Style},
    machine::{Pace, Retry},
};
use camino::Utf8PathBuf;
use tempfile::TempDir;
use tokio::{sync::mpsc, time};
use tracing_subscriber::fmt::MakeWriter;
use wire::settings::{files, vars};

use crate::fleet::{Fleet, SECRET};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Device {
    directory: TempDir,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) timeouts: Duration,
}

impl Device {
    /// A device whose package points to `fleet`, with its certificate and enroll secret.
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let device = Self {
            directory: TempDir::with_prefix("device-").unwrap(),
            variables: BTreeMap::from([(vars::FLEET_URL.to_owned(), fleet.url())]),
            timeouts: Duration::from_secs(5),
        };
        fs::create_dir_all(device.root()).unwrap();
        device.write(files::ENROLL_SECRET, &format!("{SECRET}\n"));
        device.write(files::SERVER_CA, &fleet.ca());
        device.write_system("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n");
        device.write_system(
            "sys/class/dmi/id/product_uuid",
            "4C4C4544-0042-3510-8054-B9C04F4D3132\n",
        );
        device.write_system("sys/class/dmi/id/product_serial", "5B5TM12\n");
        device.write_system(
            "etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n",
        );
        device
    }

    pub(crate) fn root(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().join("root")).unwrap()
    }

    pub(crate) fn system(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().join("system")).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.root().join(name), text).unwrap();
    }

    pub(crate) fn write_system(&self, name: &str, text: &str) {
        let path = self.system().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root().join(name)).ok()
    }

    pub(crate) fn node_key(&self) -> Option<String> {
        self.read(files::NODE_KEY)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut environment = self.variables.clone();
        environment.insert(vars::ROOT_DIR.to_owned(), self.root().into_string());
        let mut config = Config::read(&Sources { environment, ..Sources::default() })?;
        config.system = self.system();
        config.connection.timeouts.connect = self.timeouts;
        config.connection.timeouts.whole = self.timeouts;
        Ok(config)
    }

    /// Runs the agent until `script` is through, stops it, and gives back what it logged.
    pub(crate) async fn run(&self, script: impl AsyncFnOnce(&Log)) -> Log {
        let log = Log::default();
        let style = Style { debug: false, journal: true };
        let (subscriber, volume) = log::subscriber(style, log.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let agent = Agent::open(self.config().unwrap()).unwrap().with_volume(volume);
        let (stop, mut stopped) = mpsc::channel(1);
        let running = agent.run(fast(), 7, &mut stopped);
        let scripted = async {
            script(&log).await;
            stop.send(()).await.unwrap();
        };
        time::timeout(PATIENCE, async { tokio::join!(running, scripted) })
            .await
            .unwrap_or_else(|_| panic!("the agent or its script hangs; log:\n{}", log.text()));
        log
    }

    /// Runs the agent until it has fetched configuration.
    pub(crate) async fn enroll_with(&self, fleet: &Fleet) -> Log {
        let before = fleet.memory().served.len();
        self.run(async |_| until(|| fleet.memory().served.len() > before).await).await
    }
}

/// Hundreds of times faster than in production, in the same proportions.
pub(crate) fn fast() -> Pace {
    let ms = Duration::from_millis;
    Pace {
        enroll: Retry { first: ms(20), most: ms(320) },
        enroll_slow: ms(100),
        save: ms(50),
        poll: Retry { first: ms(30), most: ms(120) },
        longest_obeyed: Duration::from_secs(3_600),
        osqueryd: Retry { first: ms(20), most: ms(200) },
        osqueryd_settled: Duration::from_secs(1),
        osqueryd_grace: Duration::from_secs(2),
        shutdown_grace: Duration::from_secs(2),
        update: ms(200),
        early_update: Duration::from_secs(5),
        health_window: Duration::from_secs(20),
    }
}

/// Waits for something that other threads or processes bring about.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was logged, in the style that journald reads.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Lines that ask for attention: warnings and errors.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let text = self.text();
        let worth = |line: &&str| line.starts_with("<4>") || line.starts_with("<3>");
        text.lines().filter(worth).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
