//! Repositories of packages in buckets: read by apt and dnf, changed from more than one machine.

use std::fs;

use serde_json::Value;

use super::{Service, contest, is_kept};
use crate::{
    openpgp::{KEY, PACKAGE, home, words},
    run::{Ended, Home, tool},
};

/// A machine that changes the repository of `kind`, with a package of each version.
struct Machine {
    home: Home,
    kind: &'static str,
    endpoint: String,
}

impl Machine {
    fn new(kind: &'static str, endpoint: &str, versions: &[&str]) -> Self {
        let home = home()
            .with("AWS_ACCESS_KEY_ID", "publisher")
            .with("AWS_SECRET_ACCESS_KEY", "correct horse");
        let machine = Self { home, kind, endpoint: endpoint.to_owned() };
        for version in versions {
            machine.package(version);
        }
        machine
    }

    fn package(&self, version: &str) {
        let ending = if self.kind == "apt" { "deb" } else { "rpm" };
        let package = PACKAGE.replace("1.2.3", version);
        self.home.fleetctl(words(&format!("{package} {ending} {KEY}"))).ok();
    }

    fn file(&self, version: &str) -> String {
        match self.kind {
            "apt" => format!("dist/fleetd_{version}_amd64.deb"),
            _ => format!("dist/fleetd-{version}-1.x86_64.rpm"),
        }
    }

    fn repo(&self, verb: &str, rest: &str) -> Ended {
        self.home.fleetctl(words(&format!("repo {} {verb} --path repo {rest}", self.kind)))
    }

    fn at_bucket(&self, verb: &str, rest: &str) -> Ended {
        let to = format!("s3://updates/{} --endpoint {}", self.kind, self.endpoint);
        self.repo(verb, &format!("{to} {rest}"))
    }

    /// What was copied, and what was removed.
    fn published(&self, rest: &str) -> [Vec<String>; 2] {
        let told: Value =
            serde_json::from_str(&self.at_bucket("publish", &format!("-o json {rest}")).ok())
                .unwrap();
        ["copied", "removed"].map(|what| serde_json::from_value(told[what].clone()).unwrap())
    }

    fn found(&self, version: &str) {
        self.repo("init", &format!("--name Example {KEY}")).ok();
        self.repo("add", &format!("{KEY} {}", self.file(version))).ok();
    }

    /// Has `version` read from the bucket, with signatures, by the system's own program, and nothing else found.
    fn is_read(&self, version: &str) {
        let url = format!("{}/updates/{}", self.endpoint, self.kind);
        let packed = fs::read(self.home.path(&self.file(version))).unwrap();
        let root = self.home.path("root");
        let _ = fs::remove_dir_all(&root);
        let arrived = match self.kind {
            "apt" => self.apt_downloads(&url, version),
            _ => self.dnf_downloads(&url, version),
        };
        assert!(packed == arrived);
    }

    fn apt_downloads(&self, url: &str, version: &str) -> Vec<u8> {
        let root = self.home.path("root").display().to_string();
        for folder in ["state/lists/partial", "cache/archives/partial", "etc/preferences.d"] {
            fs::create_dir_all(format!("{root}/{folder}")).unwrap();
        }
        self.home.write("root/state/status", "");
        let key = self.home.path("repo/key.asc");
        let source = format!("deb [arch=amd64 signed-by={}] {url} stable main\n", key.display());
        self.home.write("root/sources.list", source);
        let options = format!(
            "-o Dir::State={root}/state -o Dir::State::status={root}/state/status -o Dir::Cache={root}/cache \
             -o Dir::Etc={root}/etc -o Dir::Etc::sourcelist={root}/sources.list \
             -o Dir::Etc::sourceparts=/dev/null -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
             -o APT::Sandbox::User=root -o Acquire::http::Proxy=DIRECT"
        );
        let script = format!(
            "cd {root}; apt-get {options} --error-on=any update >&2; apt-get {options} download fleetd >&2; \
             apt-cache {options} madison fleetd"
        );
        let known = tool("sh", ["-ec", &script]);
        assert!(known.contains(version) && known.lines().count() == 1, "{known}");
        fs::read(format!("{root}/fleetd_{version}_amd64.deb")).unwrap()
    }

    fn dnf_downloads(&self, url: &str, version: &str) -> Vec<u8> {
        let root = self.home.path("root").display().to_string();
        let config = format!(
            "[main]\ncachedir={root}/cache\nlogdir={root}/log\npersistdir={root}/persist\n\
             reposdir={root}/none\nassumeyes=1\npluginpath={root}/none\n[ours]\nname=ours\n\
             baseurl={url}\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey={url}/key.asc\n"
        );
        self.home.write("root/dnf.conf", config);
        let script = format!(
            "dnf --quiet --config {root}/dnf.conf --installroot {root}/installed --releasever 1 \
             --forcearch x86_64 --refresh repoquery --show-duplicates --location fleetd"
        );
        let known = tool("sh", ["-ec", &script]);
        assert!(known.contains(version) && known.lines().count() == 1, "{known}");
        tool("curl", ["-fsS", "-o", &format!("{root}/package.rpm"), known.trim()]);
        fs::read(format!("{root}/package.rpm")).unwrap()
    }
}

#[test]
fn apt_and_dnf_read_a_bucket_that_two_machines_change() {
    let service = Service::start("updates");
    for (kind, entry) in [("apt", "dists/stable/InRelease"), ("dnf", "repodata/repomd.xml")] {
        let one = Machine::new(kind, &service.url, &["1.2.3"]);
        let none = one.at_bucket("fetch", "").fails(2);
        assert!(none.contains("there is no repository in `s3://updates/"), "{none}");
        one.found("1.2.3");
        let told = one.published("--dry-run");
        let [copied, removed] = one.published("");
        assert_eq!(told, [copied.clone(), removed.clone()]);
        assert_eq!((copied.last().unwrap().as_str(), removed.len()), (entry, 0));
        let at = |ending| copied.iter().position(|name| name.ends_with(ending)).unwrap();
        let package = at(if kind == "apt" { ".deb" } else { ".rpm" });
        assert!(package < at("/fleetctl.json"), "{copied:?}");
        one.is_read("1.2.3");
        assert_eq!(one.published("").concat(), [""; 0], "there is nothing to do");

        let other = Machine::new(kind, &service.url, &["1.10.0"]);
        for name in ["key.asc", "passphrase.txt"] {
            fs::copy(one.home.path(name), other.home.path(name)).unwrap();
        }
        other.at_bucket("fetch", "").ok();
        other.repo("add", &format!("{KEY} {}", other.file("1.10.0"))).ok();
        other.repo("prune", &format!("--keep 1 {KEY}")).ok();
        let [copied, removed] = other.published("");
        assert!(copied.iter().any(|name| name.contains("1.10.0")), "{copied:?}");
        assert!(removed.iter().any(|name| name.contains("1.2.3")), "{removed:?}");
        other.is_read("1.10.0");

        one.at_bucket("fetch", "").ok();
        let [ours, theirs] = [&one, &other].map(|it| it.repo("list", "-o json").ok());
        assert_eq!(ours, theirs);
        one.repo("add", &format!("{KEY} {}", one.file("1.2.3"))).ok();
        other.repo("sign", KEY).ok();
        one.published("");
        let said = other.at_bucket("publish", "").fails(2);
        assert!(said.contains("has changes that the folder does not have"), "{said}");
        let said = other.at_bucket("fetch", "").fails(2);
        assert!(said.contains("has changes that were not published"), "{said}");
    }
}

#[test]
fn an_index_that_somebody_else_replaces_meanwhile_stays() {
    for kind in ["apt", "dnf"] {
        let machine = Machine::new(kind, "", &["1.2.3"]);
        machine.found("1.2.3");
        let (said, seen) = contest(|url| {
            machine.repo("publish", &format!("s3://updates/{kind} --endpoint {url}"))
        });
        assert!(said.contains("fleetctl.json`: somebody else has written it meanwhile"), "{said}");
        let (last, before) = seen.split_last().unwrap();
        assert_eq!(last, "fleetctl.json * no-cache");
        assert!(!before.is_empty() && before.iter().all(|line| is_kept(line)), "{before:?}");
    }
}

#[test]
fn what_is_no_bucket_and_no_repository_is_told() {
    let machine = Machine::new("apt", "http://127.0.0.1:9", &[]);
    let said = machine.repo("publish", "elsewhere").fails(2);
    assert!(said.contains("`elsewhere` is no bucket: an address begins with s3://"), "{said}");
    let said = machine.at_bucket("publish", "").fails(2);
    assert!(said.contains("there is no repository in `repo`"), "{said}");
}
