//! Packages that other people's tools made.

use std::{fs, path::Path};

use packager::read::{Contents, FoundKind, Kind};

use super::{failures, open};
use crate::fixture::run;

/// A tree with awkward names, which every format has.
fn tree(folder: &Path) {
    let app = folder.join("opt/a pp");
    fs::create_dir_all(app.join("empty")).unwrap();
    fs::write(app.join("hello wörld $(x) 'q' \"d\""), "hello").unwrap();
    fs::write(app.join("nothing"), "").unwrap();
    fs::write(app.join("x".repeat(200)), "long").unwrap();
    fs::write(app.join("many"), vec![b'm'; 300_000]).unwrap();
    std::os::unix::fs::symlink("hello wörld", app.join("link")).unwrap();
    fs::hard_link(app.join("many"), app.join("same as many")).unwrap();
}

fn shell(folder: &Path, script: &str) {
    run("sh", &["-euc", &format!("cd '{}'; {script}", folder.display())]);
}

fn read(path: &Path) -> Contents {
    open(&fs::read(path).unwrap()).unwrap()
}

fn has_the_tree(contents: &Contents, what: &str) {
    let file = |name: &str| &contents.files[&format!("/opt/a pp/{name}")];
    assert_eq!(failures(contents), [""; 0], "{what}");
    assert_eq!(file("hello wörld $(x) 'q' \"d\"").size, 5, "{what}");
    assert_eq!(
        file("many").sha256.as_deref(),
        run("sh", &["-c", "head -c 300000 /dev/zero | tr '\\0' m | sha256sum"]).split(' ').next(),
        "{what}"
    );
    assert_eq!(file(&"x".repeat(200)).size, 4, "{what}");
    assert_eq!(file("link").target.as_deref(), Some("hello wörld"), "{what}");
    assert_eq!(file("empty").kind, FoundKind::Dir, "{what}");
}

#[test]
fn debs_of_dpkg_are_read_however_they_are_squeezed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    tree(&root);
    fs::create_dir(root.join("DEBIAN")).unwrap();
    let control = "Package: hello\nVersion: 1:2.10-3\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: greets\n more\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(root.join("DEBIAN/postinst"), "#!/bin/sh\n").unwrap();
    let sums = "find opt -type f -exec md5sum {} + > DEBIAN/md5sums; chmod 755 DEBIAN/postinst";
    shell(&root, sums);
    for squeezed in ["gzip", "xz", "zstd", "none"] {
        let path = folder.path().join(format!("{squeezed}.deb"));
        run(
            "dpkg-deb",
            &[
                "--root-owner-group",
                &format!("-Z{squeezed}"),
                "-b",
                root.to_str().unwrap(),
                path.to_str().unwrap(),
            ],
        );
        let contents = read(&path);
        has_the_tree(&contents, squeezed);
        assert_eq!((contents.kind, contents.says("version")), (Kind::Deb, "1:2.10-3"));
        assert_eq!(contents.says("description"), "greets\nmore");
        assert_eq!(contents.scripts["postinst"], "#!/bin/sh\n");
        assert!(contents.checks.iter().any(|check| check.what == "md5sums"));
    }
    // A sum that is wrong shows.
    shell(&root, "sed -i '1s/^./x/' DEBIAN/md5sums");
    let path = folder.path().join("wrong.deb");
    run("dpkg-deb", &["-b", root.to_str().unwrap(), path.to_str().unwrap()]);
    let wrong = failures(&read(&path)).join(";");
    assert!(wrong.contains("has another MD5"), "{wrong}");
}

#[test]
fn rpms_of_rpmbuild_are_read_however_they_are_squeezed() {
    let folder = tempfile::tempdir().unwrap();
    tree(&folder.path().join("root"));
    let spec = "Name: hello\nVersion: 2.10\nRelease: 3\nSummary: greets\nLicense: MIT\nBuildArch: noarch\n\
        %description\nmore\n%install\ncp -a %{_sourcedir}/root/. %{buildroot}/\n%post\necho hi\n\
        %files\n\"/opt/a pp\"\n%config(noreplace) \"/opt/a pp/nothing\"\n%ghost /var/lib/hello\n";
    fs::write(folder.path().join("hello.spec"), spec).unwrap();
    for squeezed in ["w9.gzdio", "w6.xzdio", "w3.zstdio", "w6.lzdio", "w.ufdio"] {
        let script = format!(
            "rpmbuild -bb --quiet --define \"_topdir $PWD/{squeezed}\" --define \"_sourcedir $PWD\" \
             --define '_binary_payload {squeezed}' hello.spec"
        );
        shell(folder.path(), &script);
        let path = folder.path().join(squeezed).join("RPMS/noarch/hello-2.10-3.noarch.rpm");
        let contents = read(&path);
        has_the_tree(&contents, squeezed);
        assert_eq!((contents.kind, contents.says("release")), (Kind::Rpm, "3"));
        assert_eq!(contents.scripts["post"], "echo hi");
        assert!(contents.files["/opt/a pp/nothing"].config);
        assert_eq!(contents.files["/var/lib/hello"].sha256, None, "a ghost has no content");
    }
}

#[test]
fn an_msi_of_wixl_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "hello").unwrap();
    fs::write(folder.path().join("b.txt"), vec![b'm'; 300_000]).unwrap();
    let product = r#"<?xml version="1.0"?><Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
      <Product Id="*" Name="Hello" UpgradeCode="12345678-1234-1234-1234-123456789abc" Version="2.1.0" Manufacturer="A" Language="1033">
      <Package InstallerVersion="200" Compressed="yes" Comments="greets"/><Media Id="1" Cabinet="h.cab" EmbedCab="yes"/>
      <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="D" Name="Hello World">
      <Component Id="C" Guid="12345678-1234-1234-1234-123456789abd"><File Id="a" Source="a.txt"/><File Id="b" Source="b.txt" Name="other name.txt"/></Component>
      </Directory></Directory></Directory><Feature Id="F" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>"#;
    fs::write(folder.path().join("hello.wxs"), product).unwrap();
    shell(folder.path(), "wixl -o hello.msi hello.wxs");
    let contents = read(&folder.path().join("hello.msi"));
    assert_eq!(failures(&contents), [""; 0]);
    assert_eq!((contents.says("name"), contents.says("version")), ("Hello", "2.1.0"));
    let listed =
        |name: &str| contents.files[&format!("/ProgramFilesFolder/Hello World/{name}")].size;
    assert_eq!((listed("a.txt"), listed("other name.txt")), (5, 300_000));
}
