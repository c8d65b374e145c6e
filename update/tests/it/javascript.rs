//! tuf-js, the client of npm.

use std::sync::OnceLock;

use camino::Utf8PathBuf;

use crate::tools::{alone, node_project, start, told};

const SCRIPT: &str = "read_repository.mjs";

/// Reads targets, and prints the name and SHA-256 of each: `args` are those of `read_repository.mjs`.
pub(crate) async fn read_repository(args: &[&str]) -> Result<String, String> {
    let args: Vec<String> = args.iter().map(|&it| it.to_owned()).collect();
    let running = tokio::task::spawn_blocking(move || {
        static MADE: OnceLock<(Utf8PathBuf, Utf8PathBuf)> = OnceLock::new();
        let (node, dir) = MADE.get_or_init(|| node_project("tuf-js", &[SCRIPT]));
        told(alone(start(node.as_str()).arg(dir.join(SCRIPT)).args(args)).output().unwrap())
    });
    running.await.unwrap()
}
