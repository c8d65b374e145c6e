//! A repository, and those who read it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use packager::{
    Format,
    format::{deb::Deb, rpm::Rpm},
    repository::{
        apt::{Apt, MAIN, Settings},
        dnf::Dnf,
    },
    sign::openpgp::SigningKey,
};
use tempfile::TempDir;

use crate::{
    fixture::{output, run},
    openpgp::{Gpg, NOW, key, sign, signed},
};

const USER: &str = "it@example.com";

/// A folder for everything, with a key.
pub(super) struct Place {
    folder: TempDir,
    pub(super) key: SigningKey,
    pub(super) gpg: Gpg,
}

impl Place {
    pub(super) fn new(algorithm: &str) -> Self {
        let gpg = Gpg::new();
        gpg.make(USER, algorithm, "sign", "never");
        Self { folder: tempfile::tempdir().unwrap(), key: key(&gpg, USER), gpg }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A package of that version, in a file of any name.
    pub(super) fn package(&self, format: &dyn Format, version: &str) -> PathBuf {
        let path = self.path(&format!("in-{version}.{}", format.name()));
        fs::write(&path, signed(format, self.key.clone(), version)).unwrap();
        path
    }

    pub(super) fn apt(&self) -> Apt {
        let apt = Apt::at(self.path("apt"), "stable").unwrap();
        let settings = Settings { name: "Example Inc.".to_owned(), valid_days: None };
        apt.init(settings, &self.key, NOW).unwrap();
        apt
    }

    pub(super) fn add(&self, apt: &Apt, versions: &[&str]) {
        let files = versions.iter().map(|version| self.package(&Deb::default(), version));
        apt.add(&files.collect::<Vec<_>>(), MAIN, (&self.key, NOW)).unwrap();
    }

    pub(super) fn dnf(&self) -> Dnf {
        let dnf = Dnf::at(self.path("dnf"));
        dnf.init("Example Inc.", &self.key, NOW).unwrap();
        dnf
    }

    pub(super) fn add_rpm(&self, dnf: &Dnf, versions: &[&str]) {
        let files = versions.iter().map(|version| self.package(&Rpm::default(), version));
        dnf.add(&files.collect::<Vec<_>>(), &self.key, NOW).unwrap();
    }

    /// What apt does in a root of its own that knows this repository and nothing else.
    pub(super) fn apt_get(&self, args: &[&str]) -> String {
        let root = self.path("root");
        for folder in ["state/lists/partial", "cache/archives/partial", "etc/preferences.d"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("state/status"), installed(&root)).unwrap();
        let keyring = self.path("apt/key.asc");
        let source = format!(
            "deb [arch=amd64 signed-by={}] file:{} stable main\n",
            keyring.display(),
            self.path("apt").display()
        );
        fs::write(root.join("sources.list"), source).unwrap();
        let options = [
            format!("Dir::State={}", root.join("state").display()),
            format!("Dir::State::status={}", root.join("state/status").display()),
            format!("Dir::Cache={}", root.join("cache").display()),
            format!("Dir::Etc={}", root.join("etc").display()),
            format!("Dir::Etc::sourcelist={}", root.join("sources.list").display()),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "APT::Get::List-Cleanup=false".to_owned(),
            "Acquire::Check-Date=false".to_owned(),
        ];
        let options: Vec<_> = options.iter().flat_map(|option| ["-o", option]).collect();
        output("apt-get", &[&options[..], args].concat())
    }

    /// A package by rpmbuild, signed by us, that has what the rpm `wanting` requires.
    pub(super) fn stand_in(&self, wanting: &Path) -> PathBuf {
        let wanted = run("rpm", &["-qp", "--requires", "--recommends", wanting.to_str().unwrap()]);
        let provides = wanted.lines().filter(|line| !line.starts_with("rpmlib("));
        let provides: Vec<_> = provides.collect();
        let spec = self.path("stand-in.spec");
        let text = format!(
            "Name: stand-in\nVersion: 1\nRelease: 1\nSummary: it\nLicense: MIT\nBuildArch: noarch\n\
             Provides: {}\n%description\nit\n%files\n",
            provides.join(", ")
        );
        fs::write(&spec, text).unwrap();
        let top = format!("_topdir {}", self.path("rpmbuild").display());
        run("rpmbuild", &["--quiet", "--define", &top, "-bb", spec.to_str().unwrap()]);
        let built = self.path("rpmbuild/RPMS/noarch/stand-in-1-1.noarch.rpm");
        let unsigned = fs::read(built).unwrap();
        let path = self.path("stand-in.rpm");
        fs::write(&path, sign(&Rpm::default(), &unsigned, self.key.clone()).unwrap()).unwrap();
        path
    }

    /// What dnf does in a root of its own that knows this repository and nothing else.
    pub(super) fn dnf_says(&self, args: &[&str]) -> String {
        let root = self.path("root");
        fs::create_dir_all(&root).unwrap();
        let url = format!("file://{}", self.path("dnf").display());
        let config = root.join("dnf.conf");
        let text = format!(
            "[main]\ncachedir={0}/cache\nlogdir={0}/log\npersistdir={0}/persist\nreposdir={0}/none\n\
             gpgcheck=1\nassumeyes=1\npluginpath={0}/none\n[ours]\nname=ours\nbaseurl={url}\n\
             gpgcheck=1\nrepo_gpgcheck=1\ngpgkey={url}/key.asc\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let installroot = root.join("installed");
        let fixed = [
            "--config",
            config.to_str().unwrap(),
            "--installroot",
            installroot.to_str().unwrap(),
            "--releasever",
            "1",
            "--forcearch",
            "x86_64",
            "--refresh",
        ];
        output("dnf", &[&fixed[..], args].concat())
    }
}

/// A dpkg database with what our package needs, and with the version of it that the root has.
fn installed(root: &Path) -> String {
    let paragraph = |name: &str, version: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\
             Maintainer: it <it@example.com>\nDescription: it\n\n"
        )
    };
    let mut text =
        ["libc6", "libgcc-s1", "ca-certificates"].map(|name| paragraph(name, "9999")).concat();
    if let Ok(version) = fs::read_to_string(root.join("version")) {
        text += &paragraph("fleetd", &version);
    }
    text
}
