//! What programs tell of themselves, compared with what binutils reads.

use std::{cell::Cell, sync::Mutex};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Format, Payload,
    format::{deb::Deb, rpm::Rpm},
    payload::Library,
};

use crate::fixture::{DATE, draft, full_payload, platform, run, spec};

fn open(path: &str) -> Component {
    let version = "1.2.3".parse().unwrap();
    Component::open(ComponentKind::Orbit, version, Utf8Path::new(path), platform()).unwrap()
}

/// The dependencies that a deb of the program at `path` has.
fn depends(path: &str) -> Option<String> {
    let payload = Payload::new(platform(), [open(path)]).unwrap();
    let package = packager::assemble(&spec(draft()), &payload, DATE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let deb = crate::fixture::write(&package, &Deb::default(), folder.path());
    let field = run("dpkg-deb", &["--field", deb.to_str().unwrap(), "Depends"]);
    Some(field.trim_end().to_owned()).filter(|field| !field.is_empty())
}

#[test]
fn a_linked_program_needs_the_newest_version_that_binutils_lists() {
    for path in ["/bin/true", "/usr/bin/dpkg-deb", "/bin/bash"] {
        let listed = run("objdump", &["--private-headers", path]);
        let versions = listed.split_whitespace().filter_map(|it| it.strip_prefix("GLIBC_"));
        let parsed = versions.map(|version| {
            version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>()
        });
        let newest = parsed.max().unwrap().iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        assert!(depends(path).unwrap().starts_with(&format!("libc6 (>= {newest})")), "{path}");
        let found: Vec<_> = open(path).libraries.into_iter().map(|it| it.name).collect();
        let mut needed: Vec<_> = listed
            .lines()
            .filter_map(|it| it.trim().strip_prefix("NEEDED"))
            .map(str::trim)
            .collect();
        needed.sort_unstable();
        assert_eq!(found, needed, "{path}");
    }
}

#[test]
fn a_static_program_and_a_script_need_nothing() {
    assert!(!run("objdump", &["--private-headers", "/sbin/ldconfig"]).contains("NEEDED"));
    assert_eq!(open("/sbin/ldconfig").libraries, [] as [Library; 0]);
    assert_eq!(depends("/sbin/ldconfig"), None);
    assert_eq!(depends("/usr/bin/ldd"), None);
}

#[test]
fn progress_adds_up_to_all_files_and_no_further() {
    let package = packager::assemble(&spec(draft()), &full_payload("1.2.3"), DATE).unwrap();
    let formats: [&dyn Format; 2] = [&Deb::default(), &Rpm::default()];
    for format in formats {
        let heard = Mutex::new(Cell::new(0));
        let mut out = std::io::Cursor::new(Vec::new());
        let add = |bytes| {
            let heard = heard.lock().unwrap();
            heard.set(heard.get() + bytes);
        };
        packager::build(&package, format, &mut out, &add).unwrap();
        assert_eq!(heard.into_inner().unwrap().get(), format.tree(&package).size());
    }
}
