//! Programs of other packages, which lie beside the one that is tested.

use std::{path::PathBuf, process::Command};

/// The program `name` of `package` beside `tested`. Tests of the whole workspace have it; whoever tests
/// one package alone may not, and then it is built.
pub(crate) fn program(tested: &str, (name, package): (&str, &str)) -> PathBuf {
    let program = PathBuf::from(tested).with_file_name(name);
    if !program.is_file() {
        let mut build = command(env!("CARGO").into());
        build.args(["build", "--quiet", "--locked", "--package", package]);
        assert!(build.status().unwrap().success(), "{name} cannot be built");
    }
    program
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
pub(crate) fn command(program: PathBuf) -> Command {
    Command::new(program)
}
