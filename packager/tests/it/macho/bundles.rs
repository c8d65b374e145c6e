//! Signatures of bundles, held against their files by python.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Payload, assemble,
    format::pkg::Pkg,
    payload::{Bundle, Content},
    sign::bundle::{BundleError, Judged, Signing},
};
use serde_json::Value;

use super::{both, judge};
use crate::{
    fixture::{DATE, bytes, draft, run, spec},
    pkg::MAC,
    pki::Pki,
};

/// A folder with a bundle, its archive and what is made of them.
struct App {
    folder: tempfile::TempDir,
}

const INFO: &str = "<plist version=\"1.0\"><dict>
<key>CFBundleIdentifier</key><string>com.example.NAME</string>
<key>CFBundleExecutable</key><string>NAME</string>
</dict></plist>";

impl App {
    /// One with whatever bundles have.
    fn new() -> Self {
        let app = Self { folder: tempfile::tempdir().unwrap() };
        app.add_bundle("Agent.app", "osqueryd");
        app.add_bundle("Agent.app/Contents/PlugIns/Help er.app", "helper");
        app.write("Agent.app/Contents/PkgInfo", b"APPL????");
        app.write("Agent.app/Contents/embedded.provisionprofile", b"profile");
        app.write("Agent.app/Contents/MacOS/tool", &both(64));
        for file in ["icon.icns", "en.lproj/a.strings", "Base.lproj/a.strings", ".DS_Store"] {
            app.write(&format!("Agent.app/Contents/Resources/{file}"), file.as_bytes());
        }
        app.write("Agent.app/Contents/Resources/en.lproj/locversion.plist", b"x");
        app.write("Agent.app/Contents/Other/deep/ä & <b>", b"text");
        symlink("../MacOS/tool", app.path("Agent.app/Contents/Resources/link")).unwrap();
        symlink("tool", app.path("Agent.app/Contents/MacOS/alias")).unwrap();
        app
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }

    fn add_bundle(&self, path: &str, program: &str) {
        self.write(
            &format!("{path}/Contents/Info.plist"),
            INFO.replace("NAME", program).as_bytes(),
        );
        self.write(&format!("{path}/Contents/MacOS/{program}"), &both(300));
    }

    fn open(&self) -> Bundle {
        let folder = self.folder.path().to_str().unwrap();
        let archive = format!("{folder}/app.tar.gz");
        // Without folders, which archives need not have.
        let list = run(
            "find",
            &[
                "-H",
                &format!("{folder}/Agent.app"),
                "!",
                "-type",
                "d",
                "-printf",
                "Agent.app/%P\\n",
            ],
        );
        fs::write(self.path("list"), list).unwrap();
        run("tar", &["-czf", &archive, "-C", folder, "-T", self.path("list").to_str().unwrap()]);
        let paths = [Utf8Path::new(&archive), Utf8Path::new(folder)];
        let scratch = paths[1].join("scratch.tar");
        let version = "5.1.0".parse().unwrap();
        let kind = ComponentKind::Osqueryd;
        let component = Component::open_bundle(kind, version, [paths[0], &scratch], MAC).unwrap();
        match component.content {
            Content::Bundle(bundle) => bundle,
            Content::Program(_) => panic!("it is a bundle"),
        }
    }

    fn sign(&self, pki: &Arc<Pki>) -> Result<Bundle, BundleError> {
        let scratch =
            self.path(&format!("signed-{}", fs::read_dir(self.folder.path()).unwrap().count()));
        fs::create_dir(&scratch).unwrap();
        let by = pki.signer("app");
        let scratch = Utf8Path::from_path(&scratch).unwrap();
        self.open().sign(&Signing { by: &by, entitlements: None, signed_at: None, scratch })
    }
}

fn pki() -> Arc<Pki> {
    let pki = Arc::new(Pki::new());
    pki.certify("app", "rsa:2048", "application");
    pki
}

/// Lays `bundle` as a pkg does, below `folder`.
fn lay(bundle: Bundle, folder: &Path) -> PathBuf {
    let component = |kind, content| Component {
        kind,
        version: "1.2.3".parse().unwrap(),
        content,
        libraries: Vec::new(),
    };
    let orbit = Content::Program(packager::tree::Source::Bytes(b"#!/bin/sh\n"[..].into()));
    let components = [
        component(ComponentKind::Orbit, orbit),
        component(ComponentKind::Osqueryd, Content::Bundle(bundle)),
    ];
    let payload = Payload::new(MAC, components).unwrap();
    let package = assemble(&spec(draft()), &payload, DATE).unwrap();
    let path = folder.join("a.pkg");
    fs::write(&path, bytes(&package, &Pkg::default())).unwrap();
    let laid = folder.join("laid");
    fs::create_dir(&laid).unwrap();
    let script = "bsdtar -xOf \"$1\" fleetd.pkg/Payload | bsdtar -xf - -C \"$2\"";
    run("sh", &["-c", script, "sh", path.to_str().unwrap(), laid.to_str().unwrap()]);
    laid.join("opt/orbit/bin/osqueryd/packaged/osquery.app")
}

fn wrong(judged: &[Judged]) -> Vec<String> {
    judged.iter().filter(|it| it.found.is_err()).map(|it| it.path.clone()).collect()
}

#[test]
fn every_file_of_a_bundle_is_covered_as_codesign_does() {
    let (pki, app) = (pki(), App::new());
    let signed = app.sign(&pki).unwrap();
    let judged = signed.verify(&pki.trust());
    assert_eq!(wrong(&judged), [] as [String; 0]);
    assert_eq!(judged.len(), 3, "{judged:?}");
    assert!(signed.is_signed().unwrap());
    let laid = lay(signed, app.folder.path());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundle.py");
    let said: Value =
        serde_json::from_str(&run("python3", &[script, laid.to_str().unwrap()])).unwrap();
    let covered = said["covered"].as_object().unwrap();
    let expected = [
        "MacOS/alias",
        "MacOS/tool",
        "Other/deep/ä & <b>",
        "PlugIns/Help er.app",
        "Resources/Base.lproj/a.strings",
        "Resources/en.lproj/a.strings",
        "Resources/icon.icns",
        "Resources/link",
        "embedded.provisionprofile",
    ];
    let mut paths: Vec<_> = covered.keys().collect();
    paths.sort();
    assert_eq!(paths, expected);
    for (path, name) in [
        ("MacOS/tool", "identifier tool and"),
        ("PlugIns/Help er.app", "identifier \"com.example.helper\" and"),
    ] {
        assert!(covered[path].as_str().unwrap().starts_with(name), "{path}: {covered:?}");
    }
    let helper = laid.join("Contents/PlugIns/Help er.app");
    run("python3", &[script, helper.to_str().unwrap()]);
    let said = judge(&pki, &fs::read(laid.join("Contents/MacOS/osqueryd")).unwrap());
    let digest = |path: &str| {
        run("sha256sum", &[laid.join(path).to_str().unwrap()]).split(' ').next().unwrap().to_owned()
    };
    for said in said {
        assert_eq!(said["identifier"], "com.example.osqueryd");
        assert_eq!(said["slots"]["1"], digest("Contents/Info.plist"));
        assert_eq!(said["slots"]["3"], digest("Contents/_CodeSignature/CodeResources"));
    }
}

#[test]
fn a_file_that_is_changed_added_or_missing_is_found() {
    let (pki, app) = (pki(), App::new());
    let laid = lay(app.sign(&pki).unwrap(), app.folder.path());
    let found = |change: &dyn Fn(&Path)| {
        let copy = App { folder: tempfile::tempdir().unwrap() };
        let target = copy.path("Agent.app");
        run("cp", &["-a", laid.to_str().unwrap(), target.to_str().unwrap()]);
        change(&target.join("Contents"));
        wrong(&copy.open().verify(&pki.trust()))
    };
    assert_eq!(found(&|_| ()), [] as [String; 0]);
    let write = |path: &'static str| move |app: &Path| fs::write(app.join(path), "other").unwrap();
    let remove = |path: &'static str| move |app: &Path| fs::remove_file(app.join(path)).unwrap();
    for path in ["Resources/icon.icns", "Resources/new", "MacOS/new", "MacOS/tool"] {
        assert_eq!(found(&write(path)), [format!("Contents/{path}")]);
    }
    assert_eq!(found(&write("Info.plist")).len(), 1);
    assert_eq!(found(&remove("Resources/icon.icns")), ["Contents/Resources/icon.icns"]);
    assert_eq!(found(&remove("Resources/en.lproj/a.strings")), [] as [String; 0]);
    let helper = "PlugIns/Help er.app/Contents/Info.plist";
    assert_eq!(found(&write(helper)).len(), 1);
    let link = |app: &Path| {
        fs::remove_file(app.join("Resources/link")).unwrap();
        symlink("icon.icns", app.join("Resources/link")).unwrap();
    };
    assert_eq!(found(&link), ["Contents/Resources/link"]);
    let beside = |app: &Path| fs::write(app.join("../beside"), "other").unwrap();
    assert_eq!(found(&beside), ["beside"]);
}

#[test]
fn frameworks_are_signed_in_the_folder_of_their_version() {
    let (pki, app) = (pki(), App::new());
    let framework = "Agent.app/Contents/Frameworks/Kit.framework";
    let version = format!("{framework}/Versions/B");
    app.write(&format!("{version}/Kit"), &both(500));
    app.write(&format!("{version}/Resources/Info.plist"), INFO.replace("NAME", "Kit").as_bytes());
    app.write(&format!("{version}/Resources/en.lproj/x"), b"text");
    app.write(&format!("{version}/Helpers/tool"), &both(90));
    symlink("B", app.path(&format!("{framework}/Versions/Current"))).unwrap();
    for name in ["Kit", "Resources"] {
        let target = format!("Versions/Current/{name}");
        symlink(target, app.path(&format!("{framework}/{name}"))).unwrap();
    }
    let signed = app.sign(&pki).unwrap();
    let judged = signed.verify(&pki.trust());
    assert_eq!(wrong(&judged), [] as [String; 0]);
    let version = "Contents/Frameworks/Kit.framework/Versions/B";
    assert!(judged.iter().any(|it| it.path == format!("{version}/Helpers/tool")), "{judged:?}");
    let laid = lay(signed, app.folder.path());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundle.py");
    let covered = |args: &[&str]| -> Value {
        serde_json::from_str::<Value>(&run("python3", args)).unwrap()["covered"].clone()
    };
    let outer = covered(&[script, laid.to_str().unwrap()]);
    let requirement = outer["Frameworks/Kit.framework"].as_str().unwrap();
    assert!(requirement.starts_with("identifier \"com.example.Kit\" and"), "{requirement}");
    let inner = laid.join(version);
    let inner = covered(&[script, inner.to_str().unwrap(), "Resources/Info.plist", "Kit"]);
    let mut inner: Vec<_> = inner.as_object().unwrap().keys().collect();
    inner.sort();
    assert_eq!(inner, ["Helpers/tool", "Resources/Info.plist", "Resources/en.lproj/x"]);
    let found = |change: &dyn Fn(&Path)| {
        let copy = App { folder: tempfile::tempdir().unwrap() };
        let target = copy.path("Agent.app");
        run("cp", &["-a", laid.to_str().unwrap(), target.to_str().unwrap()]);
        change(&target.join("Contents/Frameworks/Kit.framework"));
        wrong(&copy.open().verify(&pki.trust()))
    };
    assert_eq!(found(&|_| ()), [] as [String; 0]);
    let library = |it: &Path| fs::write(it.join("Versions/B/Kit"), "other").unwrap();
    assert_eq!(found(&library), [format!("{version}/Kit")]);
    let strange = |it: &Path| {
        fs::remove_file(it.join("Kit")).unwrap();
        symlink("../../MacOS/tool", it.join("Kit")).unwrap();
    };
    assert_eq!(found(&strange), ["Contents/Frameworks/Kit.framework/Kit"]);
    let older = |it: &Path| {
        fs::create_dir(it.join("Versions/A")).unwrap();
        fs::write(it.join("Versions/A/Kit"), "other").unwrap();
    };
    let a = "Contents/Frameworks/Kit.framework/Versions/A";
    assert_eq!(found(&older), [a.to_owned(), format!("{a}/Kit")]);
}

#[test]
fn code_of_the_same_signer_is_not_taken_for_what_was_in_the_bundle() {
    let (pki, app, other) = (pki(), App::new(), App::new());
    other.write("Agent.app/Contents/PlugIns/Help er.app/Contents/Resources/x", b"more");
    other.write("Agent.app/Contents/MacOS/tool", &both(80));
    let laid = lay(app.sign(&pki).unwrap(), app.folder.path());
    let strange = lay(other.sign(&pki).unwrap(), other.folder.path());
    for path in ["Contents/PlugIns/Help er.app", "Contents/MacOS/tool"] {
        let copy = App { folder: tempfile::tempdir().unwrap() };
        let target = copy.path("Agent.app");
        run("cp", &["-a", laid.to_str().unwrap(), target.to_str().unwrap()]);
        run("rm", &["-r", target.join(path).to_str().unwrap()]);
        let from = strange.join(path);
        run("cp", &["-a", from.to_str().unwrap(), target.join(path).to_str().unwrap()]);
        assert_eq!(wrong(&copy.open().verify(&pki.trust())), [path]);
    }
}

#[test]
fn lists_in_lists_without_end_are_refused() {
    let (pki, app) = (pki(), App::new());
    let laid = lay(app.sign(&pki).unwrap(), app.folder.path());
    let nested = |count| {
        let [open, close] = ["<array>", "</array>"].map(|tag: &str| tag.repeat(count));
        format!("<plist version=\"1.0\">{open}{close}</plist>").into_bytes()
    };
    // Each list but the last has the next.
    let binary = |count: u16| {
        let mut bytes = b"bplist00".to_vec();
        let mut places = Vec::new();
        for number in 1..=count {
            places.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            bytes.push(if number < count { 0xa1 } else { 0xa0 });
            bytes.extend((number < count).then_some(number).into_iter().flat_map(u16::to_be_bytes));
        }
        let table = bytes.len() as u64;
        let tail = [u64::from(count), 0, table].map(u64::to_be_bytes).concat();
        [bytes, places, vec![0; 6], vec![4, 2], tail].concat()
    };
    for list in [nested(200_000), binary(2_200), binary(20_000)] {
        let copy = App { folder: tempfile::tempdir().unwrap() };
        let target = copy.path("Agent.app");
        run("cp", &["-a", laid.to_str().unwrap(), target.to_str().unwrap()]);
        fs::write(target.join("Contents/Info.plist"), list).unwrap();
        assert_eq!(wrong(&copy.open().verify(&pki.trust())), ["Contents/Info.plist"]);
    }
}

#[test]
fn what_cannot_be_signed_is_told_with_its_path() {
    let pki = pki();
    let refused = |change: &dyn Fn(&App)| {
        let app = App::new();
        change(&app);
        app.sign(&pki).unwrap_err().to_string()
    };
    let script = refused(&|app| app.write("Agent.app/Contents/MacOS/script", b"#!/bin/sh\n"));
    assert!(script.starts_with("`Contents/MacOS/script` is no program"), "{script}");
    let nothing =
        refused(&|app| app.write("Agent.app/Contents/Info.plist", b"<plist><dict/></plist>"));
    assert_eq!(nothing, "`Contents/Info.plist` does not tell its identifier");
    let beside = refused(&|app| app.write("Agent.app/beside", b""));
    assert!(beside.starts_with("`beside` is where nothing is signed"), "{beside}");
    let framework =
        refused(&|app| app.write("Agent.app/Contents/Frameworks/A.framework/Versions/A/A", b""));
    assert!(framework.contains("A.framework` is a framework without"), "{framework}");
}

#[test]
fn what_somebody_has_signed_keeps_its_signature() {
    let (pki, app) = (pki(), App::new());
    let first = lay(app.sign(&pki).unwrap(), app.folder.path());
    let again = App { folder: tempfile::tempdir().unwrap() };
    run("cp", &["-a", first.to_str().unwrap(), again.path("Agent.app").to_str().unwrap()]);
    pki.certify("app", "rsa:2048", "application");
    let second = lay(again.sign(&pki).unwrap(), again.folder.path());
    run("diff", &["-r", "--no-dereference", first.to_str().unwrap(), second.to_str().unwrap()]);
}
