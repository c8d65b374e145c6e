//! Upgrades by a script that the agent runs: the service's restart would end the package manager.

use std::fs;

use packager::{format::deb::Deb, read};

use crate::{
    fixture::{as_root, bytes, draft, package},
    rpm::System,
};

/// Stand-ins that write down what they are asked.
const SCRIPTS: [(&str, &str); 3] = [
    ("systemd-run", "#!/bin/sh\necho \"systemd-run $*\" >>/asked\n[ ! -e /refuses ]\n"),
    ("deb-systemd-helper", "#!/bin/sh\n"),
    ("deb-systemd-invoke", "#!/bin/sh\necho \"deb-systemd-invoke $*\" >>/asked\n"),
];

const LATER: &str = "systemd-run --quiet --on-active=30 --timer-property=AccuracySec=1s";

/// Control groups of processes, as `/proc` tells them, with whether they are below the service.
const GROUPS: [(&str, bool); 6] = [
    ("0::/system.slice/orbit.service\n", true),
    ("0::/machine.slice/payload/system.slice/orbit.service/inner\n", true),
    ("12:pids:/x\n1:name=systemd:/system.slice/orbit.service\n", true),
    ("0::/user.slice/user-0.slice/session-1.scope\n", false),
    ("0::/system.slice/my-orbit.service\n", false),
    ("0::/system.slice/orbit.service.d\n", false),
];

fn system() -> System {
    let system = System::new();
    system.add_program("grep");
    SCRIPTS.iter().for_each(|(name, text)| system.add_script(name, text));
    for folder in ["proc/self", "dev"] {
        fs::create_dir_all(system.path(folder)).unwrap();
    }
    system.install(draft(), "1.0.0");
    system
}

/// What is asked about a restart when an rpm of `version`, and then a deb, is upgraded to in `groups`.
fn restarts(system: &System, version: &str, groups: &str) -> [String; 2] {
    fs::write(system.path("proc/self/cgroup"), groups).unwrap();
    let upgraded = system.install(draft(), version);
    let deb = bytes(&package(draft(), version), &Deb::default());
    let postinst = &read::open(&mut std::io::Cursor::new(deb)).unwrap().scripts["postinst"];
    fs::write(system.path("postinst"), postinst).unwrap();
    let root = system.path("");
    as_root("chroot", &[root.to_str().unwrap(), "sh", "/postinst", "configure", "0.9.0"]);
    [upgraded, system.asked()].map(|asked| {
        asked.lines().filter(|line| line.contains("restart")).collect::<Vec<_>>().join("\n")
    })
}

#[test]
fn the_restart_waits_for_a_package_manager_that_runs_below_the_service() {
    let system = system();
    let deb = "deb-systemd-invoke restart orbit.service";
    let now = ["--quiet --no-block try-restart orbit.service", deb];
    let later = ["systemctl try-restart orbit.service", deb].map(|it| format!("{LATER} {it}"));
    for (number, (groups, below)) in (1..).zip(GROUPS) {
        let expected = if below { later.clone() } else { now.map(str::to_owned) };
        assert_eq!(restarts(&system, &format!("1.0.{number}"), groups), expected, "{groups}");
    }
}

#[test]
fn it_does_not_wait_where_it_cannot() {
    let system = system();
    fs::write(system.path("refuses"), "").unwrap();
    let [rpm, deb] = restarts(&system, "1.0.1", GROUPS[0].0);
    assert!(rpm.ends_with("\n--quiet --no-block try-restart orbit.service"), "{rpm}");
    assert!(deb.ends_with("\ndeb-systemd-invoke restart orbit.service"), "{deb}");
}
