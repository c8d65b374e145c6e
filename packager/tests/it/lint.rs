//! What the linters of the distributions find. Accepted findings are in `tests/accepted.txt`.

use std::{collections::BTreeSet, path::Path};

use packager::{
    Package, assemble,
    format::{deb::Deb, rpm::Rpm},
};

use crate::{
    fixture::{DATE, draft, full_payload, output, spec, write},
    product,
};

const ACCEPTED: &str = include_str!("../accepted.txt");

fn accepted(tool: &str, package: &str) -> BTreeSet<String> {
    let lines = ACCEPTED.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.splitn(4, ' ').collect::<Vec<_>>());
    assert!(fields.clone().all(|fields| fields.len() == 4), "each has a tag and a reason");
    let its = fields.filter(|fields| fields[..2] == [tool, package]);
    its.map(|fields| fields[2].into()).collect()
}

/// The tags in lines like `E: fleetd: tag …` or `fleetd.x86_64: W: tag …`, of `severities`.
fn tags(text: &str, severities: &[&str]) -> BTreeSet<String> {
    let tag = |line: &str| {
        let mut words = line.split(' ').skip_while(|word| !severities.contains(word)).skip(1);
        words.find(|word| !word.ends_with(':')).map(str::to_owned)
    };
    text.lines().filter_map(tag).collect()
}

/// Every package that we make, with everything that can be in it.
fn all() -> [Package; 3] {
    let agent = assemble(&spec(draft()), &full_payload("1.2.3"), DATE).unwrap();
    [agent, product::fleetctl(), product::fleet_server()]
}

#[test]
fn lintian_finds_nothing_but_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    // lintian 2.116 cannot look into members that are squeezed with zstd.
    let format = Deb { compression: "gzip".parse().unwrap(), ..Deb::default() };
    for package in all() {
        let path = write(&package, &format, folder.path());
        let path = path.to_str().unwrap();
        let args = ["--no-cfg", "--allow-root", "--display-info", "--tag-display-limit", "0"];
        let found = output("lintian", &[&args, &["--show-overrides", path][..]].concat());
        let accepted = accepted("lintian", package.metadata.name);
        assert_eq!(tags(&found, &["E:", "W:"]), BTreeSet::new(), "not overridden: {found}");
        assert_eq!(tags(&found, &["O:"]), accepted, "overridden: {found}");
    }
}

#[test]
fn rpmlint_finds_nothing_but_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for package in all() {
        let path = write(&package, &Rpm::default(), folder.path());
        let (name, path) = (package.metadata.name, path.to_str().unwrap());
        let filter = format!("rpmlint/{name}.rc");
        let filters = Path::new(&filter).exists().then_some(["--rpmlintrc", &filter]);
        let args: Vec<_> = filters.into_iter().flatten().chain([path]).collect();
        let found = output("rpmlint", &args);
        assert!(found.contains("packages and 0 specfiles checked"), "{found}");
        assert_eq!(tags(&found, &["E:", "W:"]), accepted("rpmlint", name), "{found}");
    }
}
