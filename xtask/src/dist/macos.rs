//! What the linker has to know of macOS: which library has which symbol. Text stubs, written from a
//! list of names and from the one stub that zig brings.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{cross::Cross, workspace::Workspace};

const SYMBOLS: &str = include_str!("macos-symbols.txt");

/// Where a library is on a Mac, by its name in the list.
const LIBRARIES: &[(&str, &str)] = &[
    ("libiconv", "/usr/lib/libiconv.2.dylib"),
    ("libobjc", "/usr/lib/libobjc.A.dylib"),
    ("libresolv", "/usr/lib/libresolv.9.dylib"),
    ("libz", "/usr/lib/libz.1.dylib"),
];

/// Frameworks, with the letter of the version that is current on every macOS.
const FRAMEWORKS: &[(&str, char)] = &[
    ("AppKit", 'C'),
    ("CFNetwork", 'A'),
    ("CoreFoundation", 'A'),
    ("CoreGraphics", 'A'),
    ("CoreServices", 'A'),
    ("Foundation", 'C'),
    ("IOKit", 'A'),
    ("LocalAuthentication", 'A'),
    ("OpenDirectory", 'A'),
    ("Security", 'A'),
    ("ServiceManagement", 'A'),
    ("SystemConfiguration", 'A'),
];

/// Names by which rustc and C compilers ask for parts of libSystem.
const PARTS_OF_LIBSYSTEM: &[&str] = &["c", "dl", "info", "m", "pthread", "util"];

/// An Objective-C class is listed by its symbol.
const CLASS: &str = "_OBJC_CLASS_$_";

/// Writes the stubs below the target directory; gives the folder that stands for Apple's SDK.
pub(crate) fn stubs(workspace: &Workspace, cross: &Cross) -> anyhow::Result<PathBuf> {
    let sdk = workspace.scratch("macos-stubs")?;
    let symbols = parse(SYMBOLS)?;
    let of = |library: &str| symbols.get(library).map_or(&[][..], Vec::as_slice);
    for (name, version) in FRAMEWORKS {
        let folder = format!("System/Library/Frameworks/{name}.framework");
        let stub = stub(&format!("/{folder}/Versions/{version}/{name}"), of(name));
        write(&sdk.join(folder).join(format!("{name}.tbd")), &stub)?;
    }
    let libraries = sdk.join("usr").join("lib");
    for (name, path) in LIBRARIES {
        write(&libraries.join(format!("{name}.tbd")), &stub(path, of(name)))?;
    }
    let system = libsystem(cross)?;
    for name in PARTS_OF_LIBSYSTEM.iter().chain(&["System"]) {
        write(&libraries.join(format!("lib{name}.tbd")), &system)?;
    }
    Ok(sdk)
}

/// Symbols by library.
fn parse(list: &str) -> anyhow::Result<BTreeMap<&str, Vec<&str>>> {
    let mut symbols: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (library, symbol) =
            line.split_once(' ').with_context(|| format!("what is `{line}`?"))?;
        let known = FRAMEWORKS.iter().any(|(name, _)| *name == library)
            || LIBRARIES.iter().any(|(name, _)| *name == library);
        if !known {
            bail!("nobody knows where macOS has the library `{library}`");
        }
        symbols.entry(library).or_default().push(symbol);
    }
    Ok(symbols)
}

/// A text stub, version 4, of the library that is at `path` on a Mac.
fn stub(path: &str, symbols: &[&str]) -> String {
    let targets = "[ x86_64-macos, arm64-macos ]";
    let mut text = format!(
        "--- !tapi-tbd\ntbd-version: 4\ntargets: {targets}\ninstall-name: '{path}'\ncurrent-version: 1\ncompatibility-version: 1\n"
    );
    let quoted = |names: Vec<&str>| {
        names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
    };
    let classes: Vec<_> = symbols.iter().filter_map(|name| name.strip_prefix(CLASS)).collect();
    let plain: Vec<_> = symbols.iter().filter(|name| !name.starts_with(CLASS)).copied().collect();
    if !symbols.is_empty() {
        text += &format!("exports:\n  - targets: {targets}\n");
    }
    if !plain.is_empty() {
        text += &format!("    symbols: [ {} ]\n", quoted(plain));
    }
    if !classes.is_empty() {
        text += &format!("    objc-classes: [ {} ]\n", quoted(classes));
    }
    text + "...\n"
}

/// Zig's stub of libSystem.
fn libsystem(cross: &Cross) -> anyhow::Result<String> {
    let path = cross.zig_library()?.join("libc").join("darwin").join("libSystem.tbd");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("could not read `{}`", path.display()))?;
    Ok(without_unknown_cpu(&text))
}

/// Takes a processor that the linker has not heard of out of all lists of targets.
fn without_unknown_cpu(stub: &str) -> String {
    let mut known = String::new();
    for (index, item) in stub.split(',').enumerate() {
        match item.trim_start().strip_prefix("arm64e.x1-") {
            Some(rest) => known += rest.trim_start_matches(|char: char| char.is_alphanumeric()),
            None if index == 0 => known += item,
            None => known = known + "," + item,
        }
    }
    known
}

/// Writes `text` unless it is there: what did not change is not linked again.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let problem = || format!("could not write `{}`", path.display());
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(problem)?;
    }
    fs::write(path, text).with_context(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_has_a_library_and_stands_once_in_order() {
        parse(SYMBOLS).unwrap();
        let lines: Vec<_> = SYMBOLS.lines().filter(|line| !line.starts_with('#')).collect();
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(lines, sorted);
    }

    #[test]
    fn unknown_libraries_are_refused() {
        assert!(parse("Sceurity _SecRandomCopyBytes").is_err());
    }

    #[test]
    fn a_processor_that_the_linker_does_not_know_is_left_out() {
        let stub =
            "targets: [ x86_64-macos,\n  arm64e.x1-macos, arm64e.x1-ios ]\nsymbols: [ _a, _b ]";
        let known = "targets: [ x86_64-macos ]\nsymbols: [ _a, _b ]";
        assert_eq!(without_unknown_cpu(stub), known);
    }

    #[test]
    fn classes_are_listed_as_such() {
        let text = stub("/usr/lib/libobjc.A.dylib", &["_OBJC_CLASS_$_NSObject", "_objc_retain"]);
        assert!(text.contains("\n    symbols: [ '_objc_retain' ]\n"), "{text}");
        assert!(text.contains("\n    objc-classes: [ 'NSObject' ]\n"), "{text}");
    }
}
