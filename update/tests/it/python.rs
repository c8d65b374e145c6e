//! python-tuf, the reference client and signer, and Node, in virtual environments of the tests' own.

use std::{
    fs,
    process::{Command, Output},
    sync::OnceLock,
};

use camino::{Utf8Path, Utf8PathBuf};

const PACKAGES: [&str; 4] =
    ["tuf==7.0.1", "securesystemslib==1.6.0", "cryptography==50.0.2", "pynacl==1.6.2"];

/// Runs `tests/it/<script>` with `args`; returns what it printed.
pub(crate) async fn run(script: &str, args: &[&str]) -> Result<String, String> {
    let script = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(script);
    let args: Vec<String> = args.iter().map(|&it| it.to_owned()).collect();
    let running = tokio::task::spawn_blocking(move || {
        static MADE: OnceLock<Utf8PathBuf> = OnceLock::new();
        let python = MADE.get_or_init(|| environment("python-tuf", &PACKAGES));
        told(alone(start(python.as_str()).arg(script).args(args)).output().unwrap())
    });
    running.await.unwrap()
}

/// What a program printed, or complained of.
pub(crate) fn told(output: Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// `command` reaches servers on this machine without a proxy.
pub(crate) fn alone(command: &mut Command) -> &mut Command {
    command.env_remove("HTTP_PROXY").env("NO_PROXY", "127.0.0.1")
}

/// The Python of an environment with `packages`, made by the first who asks.
pub(crate) fn environment(name: &str, packages: &[&str]) -> Utf8PathBuf {
    let (python, stamp) = (place(name).join("venv/bin/python"), place(name).join("stamp"));
    let wanted = packages.join("\n");
    let _alone = lock(name);
    if fs::read_to_string(&stamp).is_ok_and(|it| it == wanted) && python.is_file() {
        return python;
    }
    succeed(start("python3").args(["-m", "venv", "--clear"]).arg(place(name).join("venv")));
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    succeed(start(python.as_str()).args(install).args(packages));
    fs::write(stamp, wanted).unwrap();
    python
}

/// A folder for the tests' tools, which others may be filling.
pub(crate) fn place(name: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Nobody else fills the folder until this is dropped.
pub(crate) fn lock(name: &str) -> fs::File {
    fs::create_dir_all(place(name)).unwrap();
    let lock = fs::File::create(place(name).join("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[expect(clippy::disallowed_methods, reason = "other people's clients are programs")]
pub(crate) fn start(program: &str) -> Command {
    Command::new(program)
}
