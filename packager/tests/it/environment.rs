//! `/etc/default/orbit` and the unit, as the tools of a device understand them.

use packager::Draft;
use wire::envfile;

use crate::{
    fixture::{draft, run},
    layout::text_of,
};

const NASTY: &str = r#"a b $HOME ${x} `id` "q" 'p' \ \n %n %% # ; ü→🦀 end\"#;

fn text() -> String {
    let draft = Draft {
        end_user_email: Some(NASTY.into()),
        no_proxy: Some("localhost,.example.com # not a comment".into()),
        proxy: Some("http://us%20er:p%23w@proxy.example.com:3128".into()),
        ..draft()
    };
    text_of(draft, "/etc/default/orbit")
}

#[test]
fn values_reach_a_reader_like_systemd_unchanged() {
    let vars = envfile::parse(&text());
    let value = |name: &str| vars.iter().find(|(its, _)| its == name).map(|(_, v)| v.as_str());
    assert_eq!(value("ORBIT_END_USER_EMAIL"), Some(NASTY));
    assert_eq!(value("NO_PROXY"), Some("localhost,.example.com # not a comment"));
    assert_eq!(value("HTTPS_PROXY"), Some("http://us%20er:p%23w@proxy.example.com:3128/"));
    assert_eq!(value("ORBIT_ENROLL_SECRET"), None, "the secret has a file of its own");
}

#[test]
fn values_reach_a_shell_that_sources_the_file_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orbit");
    std::fs::write(&file, text()).unwrap();
    let script = r#". "$0"; printf %s "$ORBIT_END_USER_EMAIL""#;
    assert_eq!(run("sh", &["-c", script, file.to_str().unwrap()]), NASTY);
}

#[test]
fn every_setting_is_explained() {
    let text = text();
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains('=') && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# ") && pair[0].ends_with(['.', '0', '8']), "{pair:?}");
        assert_ne!(pair[0], "# A setting of the agent.", "{pair:?}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let unit = text_of(Draft { cpu_quota: Some(50), ..draft() }, UNIT);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orbit.service");
    let program = "/opt/orbit/bin/orbit/orbit";
    assert!(unit.contains(program));
    std::fs::write(&file, unit.replace(program, "/bin/true")).unwrap();
    let said = run("systemd-analyze", &["verify", "--man=no", file.to_str().unwrap()]);
    assert_eq!(said, "");
}

const UNIT: &str = "/usr/lib/systemd/system/orbit.service";
