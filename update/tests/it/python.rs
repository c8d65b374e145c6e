//! python-tuf, the reference client and signer, in a virtual environment of the tests' own.

use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

use crate::tools::{alone, environment, start, told};

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
