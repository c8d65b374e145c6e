//! Repositories, used by apt, dnf and createrepo_c as they come with Debian.

mod damage;
mod place;

use std::{fs, num::NonZeroUsize, path::Path};

use packager::{
    SourceDate,
    format::{deb::Deb, rpm::Rpm},
    repository::{
        RepositoryError,
        apt::{Apt, MAIN, Settings},
        dnf::Dnf,
    },
};

use self::place::Place;
use crate::{
    fixture::{bytes, draft, package, run},
    openpgp::{NOW, key},
};

#[test]
fn apt_verifies_installs_and_upgrades() {
    for algorithm in ["ed25519", "rsa3072"] {
        let place = Place::new(algorithm);
        let apt = place.apt();
        let said = place.apt_get(&["update"]);
        assert!(
            said.contains("InRelease") && !said.contains("W:") && !said.contains("E:"),
            "{said}"
        );
        place.add(&apt, &["1.2.3"]);
        let said = place.apt_get(&["update"]);
        assert!(!said.contains("W:") && !said.contains("E:"), "{said}");
        let said = place.apt_get(&["--simulate", "--no-install-recommends", "install", "fleetd"]);
        assert!(said.contains("Inst fleetd (1.2.3 Example Inc.:stable [amd64])"), "{said}");
        fs::write(place.path("root/version"), "1.2.3").unwrap();
        place.add(&apt, &["1.10.0", "1.10.0-rc.1"]);
        let said = place.apt_get(&["update"]);
        assert!(!said.contains("W:") && !said.contains("E:"), "{said}");
        let said = place.apt_get(&["--simulate", "upgrade"]);
        assert!(
            said.contains("Inst fleetd [1.2.3] (1.10.0 Example Inc.:stable [amd64])"),
            "{said}"
        );
        let said =
            place.apt_get(&["--yes", "--download-only", "--no-install-recommends", "upgrade"]);
        assert!(said.contains("Download complete"), "{said}");
    }
}

#[test]
fn apt_refuses_what_was_changed_and_keys_that_it_does_not_trust() {
    let place = Place::new("ed25519");
    let apt = place.apt();
    place.add(&apt, &["1.2.3"]);
    let release = place.path("apt/dists/stable/InRelease");
    let text = fs::read_to_string(&release).unwrap();
    fs::write(&release, text.replace("Example", "Exemple")).unwrap();
    let said = place.apt_get(&["update"]);
    assert!(said.contains("BADSIG") || said.contains("not signed"), "{said}");
    fs::write(&release, &text).unwrap();
    // The list is not the one that was signed.
    for entry in
        fs::read_dir(place.path("apt/dists/stable/main/binary-amd64/by-hash/SHA256")).unwrap()
    {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let said = place.apt_get(&["update"]);
    assert!(said.contains("Hash Sum mismatch") || said.contains("unexpected size"), "{said}");
    place.gpg.make("other@example.com", "ed25519", "sign", "never");
    apt.sign(&key(&place.gpg, "other@example.com"), NOW).unwrap();
    fs::write(place.path("apt/key.asc"), place.key.armored_certificate()).unwrap();
    let said = place.apt_get(&["update"]);
    assert!(said.contains("NO_PUBKEY"), "{said}");
    apt.sign(&place.key, NOW).unwrap();
    let said = place.apt_get(&["update"]);
    assert!(!said.contains("W:") && !said.contains("E:"), "{said}");
}

#[test]
fn dnf_verifies_resolves_and_downloads() {
    for algorithm in ["ed25519", "rsa3072"] {
        let place = Place::new(algorithm);
        let dnf = place.dnf();
        place.add_rpm(&dnf, &["1.2.3", "1.10.0", "1.10.0-rc.1"]);
        let said = place.dnf_says(&["repoquery", "--show-duplicates"]);
        for version in ["1.2.3-1", "1.10.0-1", "1.10.0~rc.1-1"] {
            assert!(said.contains(&format!("fleetd-0:{version}.x86_64")), "{said}");
        }
        let said = place.dnf_says(&["repoquery", "--list", "fleetd-1.2.3"]);
        assert!(said.contains("/opt/orbit/bin/orbit/packaged/orbit"), "{said}");
        let said = place.dnf_says(&["repoquery", "--requires", "fleetd-1.2.3"]);
        assert!(said.contains("libc.so.6(GLIBC_"), "{said}");
        let ours = place.package(&Rpm::default(), "1.2.3");
        let stand_in = place.stand_in(&ours);
        dnf.add(&[stand_in], &place.key, NOW).unwrap();
        let install = ["install", "--downloadonly", "fleetd"];
        let said = place.dnf_says(&install);
        assert!(said.contains("fleetd") && said.contains("1.10.0-1"), "{said}");
        assert!(said.contains("stand-in") && said.contains("Complete!"), "{said}");
        // The same without a signature that gpgcheck finds.
        let unsigned = place.path("dnf/packages/fleetd-1.10.0-1.x86_64.rpm");
        let package = package(draft(), "1.10.0");
        fs::write(&unsigned, bytes(&package, &Rpm::default())).unwrap();
        let said = place.dnf_says(&install);
        assert!(!said.contains("Complete!"), "{said}");
    }
}

#[test]
fn dnf_refuses_an_index_that_was_changed() {
    let place = Place::new("ed25519");
    let dnf = place.dnf();
    place.add_rpm(&dnf, &["1.2.3"]);
    let index = place.path("dnf/repodata/repomd.xml");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("<revision>", "<revision>1")).unwrap();
    let said = place.dnf_says(&["repoquery"]);
    assert!(!said.contains("fleetd-0:1.2.3") && said.contains("signature"), "{said}");
    dnf.sign(&place.key, NOW).unwrap();
    let said = place.dnf_says(&["repoquery"]);
    assert!(said.contains("fleetd-0:1.2.3-1.x86_64"), "{said}");
}

#[test]
fn createrepo_writes_of_a_package_what_we_write() {
    let place = Place::new("ed25519");
    let dnf = place.dnf();
    place.add_rpm(&dnf, &["1.2.3"]);
    let ours = primary(&place.path("dnf"));
    let [theirs, packages] = ["theirs", "theirs/packages"].map(|name| place.path(name));
    fs::create_dir_all(&packages).unwrap();
    let name = "fleetd-1.2.3-1.x86_64.rpm";
    fs::copy(place.path("dnf/packages").join(name), packages.join(name)).unwrap();
    run("createrepo_c", &["--quiet", "--no-database", theirs.to_str().unwrap()]);
    assert_eq!(facts(&ours), facts(&primary(&theirs)));
}

/// The list that the index of the repository in `root` names: those before it stay for a while, beside it.
fn primary(root: &Path) -> String {
    let index = fs::read_to_string(root.join("repodata/repomd.xml")).unwrap();
    let mut names = index.split('"').filter(|it| it.contains("primary.xml"));
    let path = root.join(names.next().unwrap());
    assert_eq!(names.next(), None, "{index}");
    run("sh", &["-c", "zstd -dcf \"$0\" 2>/dev/null || zcat \"$0\"", path.to_str().unwrap()])
}

/// The elements of a list in one order, without when the file came.
fn facts(primary: &str) -> Vec<String> {
    let primary = primary.replace("&apos;", "'");
    let elements = primary.split('<').map(str::trim).filter(|it| !it.is_empty());
    let kept = elements.filter(|it| !it.starts_with("time ") && !it.starts_with('/'));
    let kept = kept.filter(|it| !it.starts_with("?xml"));
    let mut all: Vec<_> =
        kept.map(|it| it.trim_end_matches("/>").trim_end_matches('>').to_owned()).collect();
    all.sort();
    // It names some requirements several times, once for each script that has them.
    all.dedup();
    all
}

#[test]
fn a_package_is_published_once_and_never_changes() {
    let place = Place::new("ed25519");
    let apt = place.apt();
    let file = place.package(&Deb::default(), "1.2.3");
    let add = |file: &Path| apt.add(&[file.to_owned()], MAIN, (&place.key, NOW));
    assert_eq!(add(&file).unwrap().len(), 1);
    let before = tree(&place.path("apt"));
    assert_eq!(add(&file).unwrap(), []);
    assert_eq!(tree(&place.path("apt")), before);
    let other = place.path("other.deb");
    fs::write(&other, bytes(&package(draft(), "1.2.3"), &Deb::default())).unwrap();
    let refused = add(&other);
    assert!(matches!(refused, Err(RepositoryError::Differs { .. })), "{refused:?}");
    let none = place.path("none.deb");
    fs::write(&none, "no package").unwrap();
    let refused = apt.add(&[file, none], MAIN, (&place.key, NOW)).unwrap_err();
    assert!(refused.is_input() && refused.to_string().contains("none.deb"), "{refused}");
    assert_eq!(tree(&place.path("apt")), before);
    let again = apt.init(Settings { name: "x".into(), valid_days: None }, &place.key, NOW);
    assert!(matches!(again, Err(RepositoryError::Exists { .. })), "{again:?}");
}

#[test]
fn a_version_is_one_file_in_every_suite() {
    let place = Place::new("ed25519");
    let stable = place.apt();
    let testing = Apt::at(place.path("apt"), "testing").unwrap();
    testing.init(Settings { name: "x".into(), valid_days: None }, &place.key, NOW).unwrap();
    place.add(&stable, &["1.2.3"]);
    let before = tree(&place.path("apt/pool"));
    let other = place.path("other.deb");
    fs::write(&other, bytes(&package(draft(), "1.2.3"), &Deb::default())).unwrap();
    let refused = testing.add(&[other], MAIN, (&place.key, NOW));
    assert!(matches!(refused, Err(RepositoryError::Differs { .. })), "{refused:?}");
    assert_eq!(tree(&place.path("apt/pool")), before);
    place.add(&testing, &["1.2.3"]);
    assert_eq!(testing.list().unwrap(), stable.list().unwrap());
}

#[test]
fn a_name_that_gpg_would_hash_without_its_spaces_is_refused() {
    let place = Place::new("ed25519");
    for name in ["Example ", " Example", "", "a\nb"] {
        let settings = Settings { name: name.into(), valid_days: None };
        let apt = Apt::at(place.path("apt"), "stable").unwrap();
        let refused = apt.init(settings, &place.key, NOW);
        assert!(matches!(refused, Err(RepositoryError::Name { .. })), "{name:?}: {refused:?}");
        assert!(Dnf::at(place.path("dnf")).init(name, &place.key, NOW).is_err(), "{name:?}");
    }
}

#[test]
fn pruning_keeps_the_newest_and_the_files_that_readers_may_ask_for() {
    let place = Place::new("ed25519");
    let (apt, dnf) = (place.apt(), place.dnf());
    let versions = ["1.9.0", "1.10.0", "1.10.0-rc.1", "1.2.3"];
    place.add(&apt, &versions);
    place.add_rpm(&dnf, &versions);
    let keep = NonZeroUsize::new(2).unwrap();
    let removed = apt.prune(keep, &place.key, NOW).unwrap();
    let left = |list: Vec<packager::repository::Listed>| {
        list.into_iter().map(|package| package.version).collect::<Vec<_>>()
    };
    assert_eq!(removed.len(), 2);
    assert_eq!(left(apt.list().unwrap()), ["1.10.0", "1.10.0~rc.1"]);
    dnf.prune(keep, &place.key, NOW).unwrap();
    assert_eq!(left(dnf.list().unwrap()), ["1.10.0-1", "1.10.0~rc.1-1"]);
    let files = tree(&place.path("apt"));
    assert_eq!(files.iter().filter(|(path, _)| path.ends_with(".deb")).count(), 2);
    // Three forms of three indexes; of the first, two architectures' worth.
    let by_hash = files.iter().filter(|(path, _)| path.contains("/by-hash/")).count();
    assert_eq!(by_hash, 9, "{files:?}");
    let said = place.apt_get(&["update"]);
    assert!(!said.contains("W:") && !said.contains("E:"), "{said}");
    for later in 1..5 {
        apt.sign(&place.key, SourceDate::from_unix(NOW.unix() + later)).unwrap();
    }
    assert_eq!(apt.list().unwrap().len(), 2);
}

#[test]
fn the_same_packages_date_and_key_give_the_same_bytes() {
    let place = Place::new("rsa2048");
    let (apt, dnf) = (place.apt(), place.dnf());
    place.add(&apt, &["1.2.3", "1.3.0"]);
    place.add_rpm(&dnf, &["1.2.3", "1.3.0"]);
    let before = ["apt", "dnf"].map(|name| tree(&place.path(name)));
    for name in ["apt", "dnf"] {
        fs::rename(place.path(name), place.path(&format!("{name}-before"))).unwrap();
    }
    let (apt, dnf) = (place.apt(), place.dnf());
    place.add(&apt, &["1.2.3", "1.3.0"]);
    place.add_rpm(&dnf, &["1.3.0", "1.2.3"]);
    assert_eq!(["apt", "dnf"].map(|name| tree(&place.path(name))), before);
}

/// Every file below `folder`, with its content.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn names_that_would_lead_elsewhere_are_refused() {
    let place = Place::new("ed25519");
    for suite in ["..", "a/b", "", ".hidden", "a b", "a\nb"] {
        assert!(matches!(Apt::at(place.path("apt"), suite), Err(RepositoryError::Name { .. })));
    }
    let apt = place.apt();
    let file = place.package(&Deb::default(), "1.2.3");
    let refused = apt.add(&[file], "../main", (&place.key, NOW));
    assert!(matches!(refused, Err(RepositoryError::Name { .. })), "{refused:?}");
    let evil = place.path("evil");
    fs::create_dir_all(evil.join("DEBIAN")).unwrap();
    let control = "Package: x\nVersion: 1/../../x\nArchitecture: all\nMaintainer: it <it@x>\nDescription: x\n";
    fs::write(evil.join("DEBIAN/control"), control).unwrap();
    let deb = place.path("evil.deb");
    let args = ["--nocheck", "--build", evil.to_str().unwrap(), deb.to_str().unwrap()];
    run("dpkg-deb", &args);
    let refused = apt.add(&[deb], MAIN, (&place.key, NOW));
    assert!(matches!(refused, Err(RepositoryError::Name { .. })), "{refused:?}");
}
