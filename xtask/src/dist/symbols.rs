//! A program without what only debuggers read, and that beside it.

use std::{fs, path::Path};

use anyhow::Context as _;
use xshell::cmd;

use super::{
    target::{System, Target},
    toolchain,
};
use crate::workspace::Workspace;

/// Symbols of rustc's import libraries for Windows. They are named after the temporary folder that
/// rustc makes them in, which is another in every build, and no debugger asks for them.
const OF_IMPORT_LIBRARIES: [&str; 2] = ["_head_*_imports_lib", "__*_imports_lib_iname"];

/// Puts `built` into `dir` as `name`, stripped, with `<name>.debug` beside it: function names, and
/// on Linux and Windows the lines of our own code.
pub(crate) fn split(
    workspace: &Workspace,
    (target, name): (&Target, &str),
    built: &Path,
    dir: &Path,
) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let tools = toolchain::tools(workspace)?;
    let objcopy = tools.join("rust-objcopy");
    // Its libraries are those of the toolchain, which only rustup's own commands are told.
    let libraries = tools.ancestors().nth(3).context("a toolchain has libraries")?;
    let _found = sh.push_env("LD_LIBRARY_PATH", libraries);
    // Tools know their file by its name: it is in the link to the symbols, and in the signature
    // that macOS checks.
    let fresh = dir.join(".fresh");
    fs::create_dir_all(&fresh).with_context(|| format!("could not make `{}`", fresh.display()))?;
    let program = fresh.join(target.system.file_name(name));
    let symbols = fresh.join(format!("{name}.debug"));
    match target.system {
        System::Linux | System::Windows => {
            let unneeded = OF_IMPORT_LIBRARIES.map(|name| format!("--strip-symbol={name}"));
            cmd!(sh, "{objcopy} --only-keep-debug --wildcard {unneeded...} {built} {symbols}")
                .quiet()
                .run()?;
            cmd!(sh, "{objcopy} --strip-all --add-gnu-debuglink={symbols} {built} {program}")
                .quiet()
                .run()?;
        }
        System::Macos => {
            fs::copy(built, &symbols).context("could not keep the symbols")?;
            cmd!(sh, "{objcopy} --strip-all {built} {program}").quiet().run()?;
        }
    }
    for file in [&symbols, &program] {
        let name = file.file_name().context("it has just been named")?;
        let place = dir.join(name);
        fs::rename(file, &place)
            .with_context(|| format!("could not write `{}`", place.display()))?;
    }
    fs::remove_dir(&fresh).context("could not remove an empty folder")
}
