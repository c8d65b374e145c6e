//! The file of contexts: its mode, its atomicity, what is refused in it.

use std::{os::unix::fs::PermissionsExt, path::Path};

use crate::{
    run::{Home, ended},
    server::Server,
};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_file_and_its_folder_are_for_the_owner_alone() {
    let home = Home::new();
    home.fleetctl(["context", "set", "a", "--url", "fleet.example.com"]).ok();
    assert_eq!(mode(&home.config()), 0o600);
    assert_eq!(mode(home.config().parent().unwrap()), 0o700);
}

#[test]
fn a_file_that_others_can_read_is_warned_of() {
    let home = Home::new();
    home.fleetctl(["context", "set", "a", "--url", "fleet.example.com"]).ok();
    std::fs::set_permissions(home.config(), PermissionsExt::from_mode(0o644)).unwrap();
    let run = home.fleetctl(["context", "list"]);
    assert!(run.stderr.contains("warning: others can read"), "{}", run.stderr);
    home.fleetctl(["context", "use", "a"]).ok();
    assert_eq!(mode(&home.config()), 0o600, "writing it makes it private again");
}

#[test]
fn the_warning_is_given_once() {
    let server = Server::start();
    let home = Home::new();
    home.fleetctl(["context", "set", "a", "--url", &server.url]).ok();
    std::fs::set_permissions(home.config(), PermissionsExt::from_mode(0o644)).unwrap();
    let login = ["login", "--email", "ann@example.com", "--password-stdin"];
    let run = home.fleetctl_reading("correct horse\n", login);
    assert_eq!((run.code, run.stderr.matches("warning:").count()), (0, 1), "{}", run.stderr);
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    let home = Home::new();
    let names: Vec<_> = (0..12).map(|number| format!("c{number}")).collect();
    let runs: Vec<_> = names
        .iter()
        .map(|name| home.start(["context", "set", name, "--url", "fleet.example.com"]))
        .collect();
    for run in runs {
        ended(run).ok();
    }
    let list = home.fleetctl(["context", "list"]).ok();
    assert!(names.iter().all(|name| list.contains(name.as_str())), "{list}");
    let left: Vec<_> = std::fs::read_dir(home.config().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left.len(), 2, "the file and its lock, nothing temporary: {left:?}");
}

#[test]
fn a_file_that_cannot_be_replaced_stays_as_it_was() {
    let home = Home::new();
    home.fleetctl(["context", "set", "a", "--url", "fleet.example.com"]).ok();
    let before = std::fs::read(home.config()).unwrap();
    home.fleetctl(["context", "use", "nobody"]).fails(2);
    assert_eq!(std::fs::read(home.config()).unwrap(), before);
}

#[test]
fn unknown_keys_are_refused() {
    let home = Home::new();
    home.write(".config/fleetctl/config.yaml", "contexts: {}\ncolour: red\n");
    let said = home.fleetctl(["context", "list"]).fails(2);
    assert!(said.contains("unknown field `colour`"), "{said}");
}

#[test]
fn a_token_in_the_wrong_place_is_not_printed() {
    let home = Home::new();
    let context = "contexts:\n  a:\n    url: https://fleet.example.com\n    session: TOKEN\n";
    home.write(".config/fleetctl/config.yaml", context);
    let said = home.fleetctl(["context", "list"]).fails(2);
    assert!(said.contains("contexts.a.session: invalid type") && said.contains("line 4"), "{said}");
    assert!(!said.contains("TOKEN"), "{said}");
}

#[test]
fn an_address_that_no_flag_could_give_is_refused_in_the_file_too() {
    let home = Home::new();
    for (url, why) in [
        ("https://ann:hunter2@fleet.example.com", "it contains credentials"),
        ("file:///etc", "its scheme is `file`, not https"),
    ] {
        home.write(".config/fleetctl/config.yaml", format!("contexts: {{a: {{url: '{url}'}}}}\n"));
        let said = home.fleetctl(["--verbose", "--context", "a", "devices", "list"]).fails(2);
        assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_damaged_certificate_in_the_file_is_told_as_what_it_is() {
    let home = Home::new();
    let context = "contexts: {default: {url: 'https://127.0.0.1:1', ca: nonsense}}\n";
    home.write(".config/fleetctl/config.yaml", context);
    let said = home.fleetctl(["devices", "list"]).fails(1);
    assert!(said.contains("could not use the certificate of the server's CA"), "{said}");
}

#[test]
fn contexts_are_chosen_by_flag_then_variable_then_file() {
    let home = Home::new();
    for name in ["one", "two", "three"] {
        home.fleetctl(["context", "set", name, "--url", &format!("{name}.example.com")]).ok();
    }
    let shown = |home: &Home, args: &[&str]| {
        home.fleetctl([&["context", "show"], args].concat()).ok().lines().next().unwrap().to_owned()
    };
    assert_eq!(shown(&home, &[]), "Name:       one");
    let home = home.with("FLEET_CONTEXT", "two");
    assert_eq!(shown(&home, &[]), "Name:       two");
    assert_eq!(shown(&home, &["--context", "three"]), "Name:       three");
}

#[test]
fn a_pinned_certificate_is_kept_as_text() {
    let home = Home::new();
    let certificate = rcgen::generate_simple_self_signed(["fleet".to_owned()]).unwrap().cert;
    home.write("ca.pem", certificate.pem());
    let set = ["context", "set", "a", "--url", "fleet", "--fleet-certificate", "ca.pem"];
    home.fleetctl(set).ok();
    std::fs::remove_file(home.path("ca.pem")).unwrap();
    assert!(home.fleetctl(["context", "show"]).ok().contains("pinned"));
    let said = home.fleetctl(set).fails(2);
    assert!(said.contains("could not use `ca.pem`"), "{said}");
}
