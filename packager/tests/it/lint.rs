//! What the linters of the distributions find. Accepted findings are in `tests/accepted.txt`.

use std::collections::BTreeSet;

use packager::{
    Package, assemble,
    format::{deb::Deb, rpm::Rpm},
};

use crate::fixture::{DATE, draft, full_payload, output, spec, write};

const ACCEPTED: &str = include_str!("../accepted.txt");

fn accepted(tool: &str) -> BTreeSet<String> {
    let lines = ACCEPTED.lines().filter(|line| !line.starts_with('#'));
    let mut fields = lines.map(|line| line.splitn(3, ' ').collect::<Vec<_>>());
    assert!(fields.clone().all(|fields| fields.len() == 3), "each has a tag and a reason");
    fields.by_ref().filter(|fields| fields[0] == tool).map(|fields| fields[1].into()).collect()
}

/// The tags in lines like `E: fleetd: tag …` or `fleetd.x86_64: W: tag …`.
fn tags(text: &str) -> BTreeSet<String> {
    let tag = |line: &str| {
        let mut words = line.split(' ').skip_while(|word| !matches!(*word, "E:" | "W:")).skip(1);
        words.find(|word| !word.ends_with(':')).map(str::to_owned)
    };
    text.lines().filter_map(tag).collect()
}

fn full() -> Package {
    assemble(&spec(draft()), &full_payload("1.2.3"), DATE).unwrap()
}

#[test]
fn lintian_finds_nothing_but_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    // lintian 2.116 cannot look into members that are squeezed with zstd.
    let format = Deb { compression: "gzip".parse().unwrap(), ..Deb::default() };
    let path = write(&full(), &format, folder.path());
    let path = path.to_str().unwrap();
    let common = ["--no-cfg", "--allow-root", "--display-info", "--tag-display-limit", "0"];
    let lint = |more: &[&str]| output("lintian", &[&common, more, &[path]].concat());
    assert_eq!(tags(&lint(&["--no-override"])), accepted("lintian"));
    assert_eq!(tags(&lint(&[])), BTreeSet::new(), "the package overrides what is accepted");
}

#[test]
fn rpmlint_finds_nothing_but_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&full(), &Rpm::default(), folder.path());
    let path = path.to_str().unwrap();
    let found = output("rpmlint", &["--rpmlintrc", "rpmlintrc", path]);
    assert!(found.contains("packages and 0 specfiles checked"), "{found}");
    assert_eq!(tags(&found), accepted("rpmlint"));
}
