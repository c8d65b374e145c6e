//! Where settings come from, and that all that is wrong is told at once.

use std::{collections::BTreeMap, fs};

use agent::{
    config::{Config, Sources},
    secrets::SecretSource,
    trust::Trust,
};
use camino::{Utf8Path, Utf8PathBuf};
use wire::{EnrollSecret, settings::vars};

use crate::{
    device::Device,
    fleet::{Fleet, authority},
};

fn environment(vars: &[(&str, &str)]) -> BTreeMap<String, String> {
    vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn sources(vars: &[(&str, &str)]) -> Sources {
    Sources { environment: environment(vars), ..Sources::default() }
}

fn root() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let sources = Sources {
        flags: BTreeMap::from([(vars::FLEET_URL, "flag".to_owned())]),
        environment: environment(&[(vars::FLEET_URL, "env"), (vars::OSQUERY_DB, "/env")]),
        file: environment(&[
            (vars::FLEET_URL, "file"),
            (vars::OSQUERY_DB, "/file"),
            (vars::END_USER_EMAIL, "file@example.com"),
        ]),
        ..Sources::default()
    };
    let config = Config::read(&sources).unwrap();
    assert_eq!(config.connection.url.as_str(), "https://flag/");
    assert_eq!(config.osquery_db(), "/env");
    assert_eq!(config.settings.end_user_email.as_deref(), Some("file@example.com"));
}

#[test]
fn a_configuration_profile_wins_over_what_the_package_set() {
    let mut sources = sources(&[
        (vars::FLEET_URL, "packaged"),
        (vars::ENROLL_SECRET, "packaged"),
        (vars::END_USER_EMAIL, "ann@example.com"),
    ]);
    sources.profile =
        BTreeMap::from([(vars::FLEET_URL, "managed".into()), (vars::ENROLL_SECRET, "m".into())]);
    let config = Config::read(&sources).unwrap();
    assert_eq!(config.connection.url.as_str(), "https://managed/");
    assert_eq!(config.secret, SecretSource::Given(EnrollSecret::new("m").unwrap()));
    assert_eq!(config.settings.end_user_email.as_deref(), Some("ann@example.com"));
    sources.flags = BTreeMap::from([(vars::FLEET_URL, "flag".into())]);
    assert_eq!(Config::read(&sources).unwrap().connection.url.as_str(), "https://flag/");
}

#[tokio::test]
async fn without_its_profile_an_enrolled_device_stays_with_its_server() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    let root = device.root();
    let root = root.as_str();
    let read = |vars: &[(&str, &str)]| {
        let mut sources = sources(vars);
        sources.read_profile();
        Config::read(&sources)
    };
    let profile = (vars::USE_SYSTEM_CONFIGURATION, "true");
    let config = read(&[(vars::ROOT_DIR, root), profile]).unwrap();
    assert_eq!(config.connection.url.as_str(), fleet.url());
    let error = read(&[(vars::ROOT_DIR, root)]).unwrap_err().to_string();
    assert!(error.contains("where is the server?"), "{error}");
    let (_directory, fresh) = self::root();
    let error = read(&[(vars::ROOT_DIR, &fresh), profile]).unwrap_err().to_string();
    assert!(error.contains("no configuration profile tells"), "{error}");
}

#[test]
fn everything_wrong_is_told_at_once_and_no_value_is_shown() {
    let (_directory, root) = root();
    fs::write(Utf8Path::new(&root).join("fleet.pem"), "no certificate").unwrap();
    let error = Config::read(&sources(&[
        (vars::ROOT_DIR, &root),
        (vars::FLEET_URL, "fleet.example.com"),
        (vars::DEBUG, "hunter2"),
        (vars::HOST_IDENTIFIER, "hunter2"),
        (vars::ENROLL_SECRET, "hunter2\u{7}"),
    ]))
    .unwrap_err();
    let text = error.to_string();
    for name in [vars::DEBUG, vars::HOST_IDENTIFIER, vars::ENROLL_SECRET] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let error = Config::read(&sources(&[(vars::ROOT_DIR, &root), (vars::FLEET_URL, "a")]));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("fleet.pem` contains no usable certificate"), "{text}");
}

#[test]
fn without_an_address_there_is_nothing_to_do() {
    let error = Config::read(&sources(&[(vars::ROOT_DIR, "relative")])).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    assert!(error.to_string().contains("`ORBIT_FLEET_URL` is not set"), "{error}");
}

#[test]
fn the_secret_is_given_or_in_a_named_file_or_in_the_usual_one() {
    let read = |extra: &[(&str, &str)]| {
        let mut vars = vec![(vars::FLEET_URL, "a"), (vars::ROOT_DIR, "/r")];
        vars.extend(extra);
        Config::read(&sources(&vars)).unwrap().secret
    };
    let named = (vars::ENROLL_SECRET_PATH, "/run/secret");
    let given = SecretSource::Given(EnrollSecret::new("s").unwrap());
    assert_eq!(read(&[(vars::ENROLL_SECRET, "s"), named]), given);
    assert_eq!(read(&[named]), SecretSource::File("/run/secret".into()));
    assert_eq!(read(&[]), SecretSource::Packaged("/r/secret.txt".into()));
}

#[test]
fn trust_is_the_systems_or_a_certificates_or_none() {
    let (_directory, root) = root();
    let read = |extra: &[(&str, &str)]| {
        let mut vars = vec![(vars::FLEET_URL, "a"), (vars::ROOT_DIR, &*root)];
        vars.extend(extra);
        Config::read(&sources(&vars)).unwrap().connection.trust
    };
    assert_eq!(read(&[]), Trust::System);
    let packaged = Utf8PathBuf::from(&root).join("fleet.pem");
    let other = Utf8PathBuf::from(&root).join("other.pem");
    for path in [&packaged, &other] {
        fs::write(path, authority().pem()).unwrap();
    }
    assert_eq!(read(&[]), Trust::Pinned(packaged));
    assert_eq!(read(&[(vars::FLEET_CERTIFICATE, other.as_str())]), Trust::Pinned(other));
    assert_eq!(read(&[(vars::INSECURE, "true")]), Trust::Insecure);
}

#[test]
fn a_proxy_is_used_unless_the_server_is_exempt() {
    let read = |extra: &[(&str, &str)]| {
        let mut vars = vec![(vars::FLEET_URL, "fleet.example.com")];
        vars.extend(extra);
        let proxy = Config::read(&sources(&vars)).unwrap().connection.proxy;
        proxy.map(String::from)
    };
    let proxy = Some("http://proxy:3128/".to_owned());
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[("HTTPS_PROXY", "http://proxy:3128")]), proxy);
    assert_eq!(read(&[("https_proxy", "http://proxy:3128")]), proxy);
    assert_eq!(read(&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", ".example.com")]), None);
    assert_eq!(read(&[("HTTP_PROXY", "http://proxy:3128")]), None);
}

#[test]
fn settings_without_effect_are_named() {
    let config = Config::read(&sources(&[
        (vars::FLEET_URL, "a"),
        (vars::ENABLE_SCRIPTS, "true"),
        (vars::DISABLE_SETUP_EXPERIENCE, "true"),
        (vars::ORBIT_CHANNEL, "stable"),
    ]))
    .unwrap();
    assert_eq!(config.not_handled, [vars::ENABLE_SCRIPTS, vars::DISABLE_SETUP_EXPERIENCE]);
}
