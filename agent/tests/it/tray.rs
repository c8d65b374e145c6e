//! The icon of `fleet-desktop`, as a desktop's watcher and its user see it: on a session bus of the
//! test's own, asked by busctl.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::UnixListener,
    process::ChildStdout,
    task, time,
};
use wire::settings::{files, vars};
use zbus::{connection, message::Header};

use crate::{
    desktop::with_desktop,
    device::{Device, PATIENCE, until},
    fleet::Fleet,
};

/// Where every item has its menu, and what speaks of it.
const MENU: [&str; 2] = ["/MenuBar", "com.canonical.dbusmenu"];
const ITEM: [&str; 2] = ["/StatusNotifierItem", "org.kde.StatusNotifierItem"];

/// Between two questions to a program that is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// A folder with the socket of a session bus and a stand-in for `xdg-open`.
struct Session {
    directory: TempDir,
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The part of a desktop that items register with.
struct Watcher {
    items: Arc<Mutex<Vec<String>>>,
}

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: &str, #[zbus(header)] header: Header<'_>) {
        assert!(header.sender().is_some());
        self.items.lock().unwrap().push(service.to_owned());
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }
}

impl Session {
    fn new() -> Self {
        let session = Self { directory: TempDir::with_prefix("session-").unwrap() };
        let browser = session.path("xdg-open");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{}'\nexec curl --silent --noproxy '*' --dump-header '{}' \"$1\"\n",
            session.path("arguments"),
            session.path("headers"),
        );
        fs::write(&browser, script).unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
        session
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().join(name)).unwrap()
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.path("bus"))
    }

    async fn start_bus(&self) -> Running {
        let address = format!("--address={}", self.address());
        let mut command = command("dbus-daemon");
        command.args(["--session", "--nofork", "--print-address", &address]);
        let mut bus = start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        // Its socket exists before it listens; its address is told afterwards.
        let told = ChildStdout::from_std(bus.0.stdout.take().unwrap()).unwrap();
        let told = BufReader::new(told).lines().next_line().await.unwrap();
        assert!(told.unwrap().starts_with(&self.address()));
        bus
    }

    fn start_icon(&self, device: &Device) -> Running {
        let path = format!("{}:/usr/bin:/bin", self.directory.path().display());
        start(
            command(env!("CARGO_BIN_EXE_fleet-desktop"))
                .arg("tray")
                .env_clear()
                .env(vars::ROOT_DIR, device.root().as_str())
                .env("DBUS_SESSION_BUS_ADDRESS", self.address())
                .env("PATH", path)
                .stdout(Stdio::null()),
        )
    }

    /// A watcher, for as long as what is given back is kept, and the items that have come to it.
    async fn start_watcher(&self) -> (zbus::Connection, Arc<Mutex<Vec<String>>>) {
        let items = Arc::default();
        let watcher = Watcher { items: Arc::clone(&items) };
        let connection = connection::Builder::address(self.address().as_str())
            .unwrap()
            .serve_at("/StatusNotifierWatcher", watcher)
            .unwrap()
            .name("org.kde.StatusNotifierWatcher")
            .unwrap()
            .build();
        (connection.await.unwrap(), items)
    }

    /// What busctl says, as JSON.
    async fn busctl(&self, arguments: &[&str]) -> Value {
        let address = format!("--address={}", self.address());
        let mut command = command("busctl");
        command.arg(address).args(["--json=short", "--"]).args(arguments);
        let output = task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    async fn property(&self, item: &str, name: &str) -> Value {
        let arguments = ["get-property", item, ITEM[0], ITEM[1], name];
        self.busctl(&arguments).await["data"].clone()
    }

    /// The lines of the menu: number, text, and whether they can be clicked.
    async fn menu(&self, item: &str) -> Vec<(i64, String, bool)> {
        let call = ["call", item, MENU[0], MENU[1], "GetLayout", "iias", "0", "-1", "0"];
        let layout = self.busctl(&call).await;
        let lines = layout["data"][1][2].as_array().unwrap().clone();
        let line = |line: &Value| {
            let line = &line["data"];
            let of = |name: &str| line[1][name]["data"].clone();
            (
                line[0].as_i64().unwrap(),
                of("label").as_str().unwrap_or("---").to_owned(),
                of("enabled").as_bool().unwrap_or(true),
            )
        };
        lines.iter().map(line).collect()
    }

    async fn texts(&self, item: &str) -> Vec<String> {
        self.menu(item).await.into_iter().map(|(_, text, _)| text).collect()
    }

    /// Waits for the menu to say `text`.
    async fn wait_for(&self, item: &str, text: &str) {
        while !self.texts(item).await.iter().any(|line| line == text) {
            time::sleep(PAUSE).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests start what they test, and what that needs")]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn start(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

async fn item_of(items: &Mutex<Vec<String>>) -> String {
    until(|| !items.lock().unwrap().is_empty()).await;
    items.lock().unwrap().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_icon_shows_how_the_device_stands_and_opens_its_page() {
    time::timeout(PATIENCE * 4, show_and_open()).await.expect("the icon does what is waited for");
}

async fn show_and_open() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    let session = Session::new();
    let _bus = session.start_bus().await;
    let (_watcher, items) = session.start_watcher().await;
    let _icon = session.start_icon(&device);
    let item = item_of(&items).await;
    assert_eq!(session.property(&item, "Title").await, "Fleet");
    assert_eq!(session.property(&item, "Id").await, "fleet-desktop");
    assert_eq!(session.property(&item, "Status").await, "Active");
    let version = format!("Version {}", agent::VERSION);
    session.wait_for(&item, "Status: not set up yet").await;
    let grey = session.property(&item, "IconPixmap").await;
    let lines = session.menu(&item).await;
    assert_eq!((lines[0].1.as_str(), lines[0].2), ("My device", false));

    device.run(async |_| until(|| device.read(files::DESKTOP_TOKEN).is_some()).await).await;
    let look = ["call", &item, MENU[0], MENU[1], "AboutToShow", "i", "0"];
    session.busctl(&look).await;
    session.wait_for(&item, "Status: online").await;
    assert_eq!(
        session.texts(&item).await,
        ["My device", "---", "Status: online", version.as_str()]
    );
    let tip = session.property(&item, "ToolTip").await;
    assert_eq!((&tip[2], &tip[3]), (&json!("Fleet"), &json!("Status: online")));
    let picture = session.property(&item, "IconPixmap").await;
    assert_eq!((&picture[0][0], &picture[0][1]), (&json!(22), &json!(22)));
    assert_eq!(picture[0][2].as_array().unwrap().len(), 22 * 22 * 4);
    assert_ne!(picture, grey);

    let (number, _, enabled) = session.menu(&item).await.remove(0);
    assert!(enabled);
    let number = number.to_string();
    let click =
        ["call", &item, MENU[0], MENU[1], "Event", "isvu", &number, "clicked", "i", "0", "0"];
    session.busctl(&click).await;
    let headers = session.path("headers");
    until(|| fs::read_to_string(&headers).is_ok_and(|text| text.contains("\r\n\r\n"))).await;
    let token = device.read(files::DESKTOP_TOKEN).unwrap();
    let page = format!("location: {}device/{token}\r\n", fleet.url());
    let headers = fs::read_to_string(headers).unwrap();
    assert!(headers.contains(&page), "{headers}");
    let arguments = fs::read_to_string(session.path("arguments")).unwrap();
    assert!(!arguments.contains(&token), "{arguments}");

    fleet.memory().tokens.push("another".to_owned());
    session.busctl(&look).await;
    session.wait_for(&item, "Status: being renewed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_icon_waits_for_a_bus_and_for_a_watcher_and_comes_back_with_them() {
    time::timeout(PATIENCE * 4, lose_and_find()).await.expect("the icon does what is waited for");
}

async fn lose_and_find() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    device.run(async |_| until(|| device.read(files::DESKTOP_TOKEN).is_some()).await).await;
    let session = Session::new();
    // Whoever listens here is no bus.
    let listener = UnixListener::bind(session.path("bus")).unwrap();
    let mut icon = session.start_icon(&device);
    drop(listener.accept().await.unwrap());
    fs::remove_file(session.path("bus")).unwrap();

    let bus = session.start_bus().await;
    let (watcher, items) = session.start_watcher().await;
    let item = item_of(&items).await;
    session.wait_for(&item, "Status: online").await;

    watcher.close().await.unwrap();
    let (_watcher, items) = session.start_watcher().await;
    let item = item_of(&items).await;
    session.wait_for(&item, "Status: online").await;

    drop(bus);
    fs::remove_file(session.path("bus")).unwrap();
    let _bus = session.start_bus().await;
    let (_watcher, items) = session.start_watcher().await;
    let item = item_of(&items).await;
    session.wait_for(&item, "Status: online").await;
    assert!(icon.0.try_wait().unwrap().is_none());
}
