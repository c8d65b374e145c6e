//! A program without what only debuggers read, and that beside it.

use std::{fs, ops::Range, path::Path};

use anyhow::Context as _;
use object::{Object as _, ObjectSection as _, read::pe::PeFile64};
use sha2::{Digest as _, Sha256};
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
    let settled = fresh.join("settled");
    let built = if target.system == System::Windows {
        let mut bytes = fs::read(built).context("could not read what was built")?;
        settle_build_id(&mut bytes).with_context(|| format!("could not read `{name}`"))?;
        fs::write(&settled, bytes).context("could not write a copy of it")?;
        &settled
    } else {
        built
    };
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
    if target.system == System::Windows {
        fs::remove_file(&settled).context("could not remove a copy")?;
    }
    for file in [&symbols, &program] {
        let name = file.file_name().context("it has just been named")?;
        let place = dir.join(name);
        fs::rename(file, &place)
            .with_context(|| format!("could not write `{}`", place.display()))?;
    }
    fs::remove_dir(&fresh).context("could not remove an empty folder")
}

/// What stands before a program's build ID, as Windows' debuggers have it.
const CODE_VIEW: &[u8] = b"RSDS";

/// Gives a program for Windows, if it has a build ID, that which follows from the rest of it: lld's
/// is another in every build.
fn settle_build_id(program: &mut [u8]) -> anyhow::Result<()> {
    let Some(place) = build_id(program)? else { return Ok(()) };
    program[place.clone()].fill(0);
    let digest = Sha256::digest(&*program);
    program[place.clone()].copy_from_slice(&digest[..place.len()]);
    Ok(())
}

/// Where a program for Windows has its build ID, if it has one.
fn build_id(program: &[u8]) -> anyhow::Result<Option<Range<usize>>> {
    const LENGTH: usize = 16;
    let file = PeFile64::parse(program).context("it is no program for Windows")?;
    let Some(section) = file.section_by_name(".buildid") else { return Ok(None) };
    let problem = "could not read its build ID";
    let (start, _) = section.file_range().context(problem)?;
    let bytes = section.data().context(problem)?;
    let before = bytes.windows(CODE_VIEW.len()).position(|window| window == CODE_VIEW);
    let before = before.context("its build ID is not in its section")?;
    let place = before + CODE_VIEW.len()..before + CODE_VIEW.len() + LENGTH;
    bytes.get(place.clone()).context("its build ID ends with its section")?;
    let start = usize::try_from(start).context(problem)?;
    Ok(Some(start + place.start..start + place.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    /// A program for Windows, linked with `flags`.
    fn linked(flags: &[&str]) -> Vec<u8> {
        let sh = Workspace::new().unwrap().sh;
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("hello.exe");
        let gcc = cmd!(sh, "x86_64-w64-mingw32-gcc {flags...} -o {exe} -x c -");
        gcc.stdin("int main(void) { return 0; }").quiet().run().unwrap();
        fs::read(&exe).unwrap()
    }

    #[test]
    fn a_build_id_follows_from_the_rest_of_the_program() {
        let linked = linked(&["-Wl,--build-id"]);
        let place = build_id(&linked).unwrap().unwrap();
        let settled = |at: usize| {
            let mut bytes = linked.clone();
            bytes[at] ^= 1;
            settle_build_id(&mut bytes).unwrap();
            bytes
        };
        let (first, last) = (place.start, place.end - 1);
        assert!(settled(first) == settled(last), "programs that differ in their build IDs alone");
        assert_ne!(settled(first)[place.clone()], settled(place.end + 4)[place]);
    }

    #[test]
    fn a_program_without_a_build_id_stays_as_it_is() {
        let linked = linked(&[]);
        let mut settled = linked.clone();
        settle_build_id(&mut settled).unwrap();
        assert!(settled == linked);
        assert!(settle_build_id(&mut b"MZ".to_vec()).is_err());
    }
}
