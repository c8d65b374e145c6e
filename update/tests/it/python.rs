//! python-tuf, the reference client and signer, in a virtual environment of the tests' own.

use std::{fs, process::Command, sync::OnceLock};

use camino::{Utf8Path, Utf8PathBuf};

const PACKAGES: [&str; 4] =
    ["tuf==7.0.1", "securesystemslib==1.6.0", "cryptography==50.0.2", "pynacl==1.6.2"];

/// Runs `tests/it/<script>` with `args`; returns what it printed.
pub(crate) async fn run(script: &str, args: &[&str]) -> Result<String, String> {
    let script = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(script);
    let args: Vec<String> = args.iter().map(|&it| it.to_owned()).collect();
    let running = tokio::task::spawn_blocking(move || {
        let mut command = start(interpreter().as_str());
        let output = command
            .arg(script)
            .args(args)
            .env_remove("HTTP_PROXY")
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    });
    running.await.unwrap()
}

/// The environment's Python, made by the first who asks.
fn interpreter() -> &'static Utf8PathBuf {
    static MADE: OnceLock<Utf8PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-tuf");
        fs::create_dir_all(&dir).unwrap();
        let lock = fs::File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        let (python, stamp) = (dir.join("venv/bin/python"), dir.join("stamp"));
        let wanted = PACKAGES.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|it| it == wanted) && python.is_file() {
            return python;
        }
        succeed(start("python3").args(["-m", "venv", "--clear"]).arg(dir.join("venv")));
        succeed(
            start(python.as_str())
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(PACKAGES),
        );
        fs::write(stamp, wanted).unwrap();
        python
    })
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[expect(clippy::disallowed_methods, reason = "the reference client is a Python program")]
fn start(program: &str) -> Command {
    Command::new(program)
}
