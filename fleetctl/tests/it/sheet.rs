//! `fleetctl package --spec`.

use serde_json::Value;

use crate::run::{Home, program, tool};

fn home() -> Home {
    let home = Home::new();
    home.write("ci/bin/orbit", std::fs::read("/bin/true").unwrap());
    home
}

const SPEC: &str = "type = [\"deb\", \"rpm\"]
components = \"bin\"
fleet-url = \"https://fleet.example.com\"
package-version = \"1.2.3\"
[[build]]
enroll-secret = \"${LAPTOPS}\"
out-dir = \"dist/laptops\"
[[build]]
type = \"deb\"
enroll-secret = \"${SERVERS}\"
out-dir = \"dist/servers\"
debug = true
";

#[test]
fn a_file_builds_a_matrix_in_one_call() {
    let home = home().with("LAPTOPS", "one secret").with("SERVERS", "another secret");
    home.write("ci/fleet-package.toml", SPEC);
    let made = home.fleetctl(["package", "--spec", "ci/fleet-package.toml", "-o", "json"]).ok();
    let made: Vec<Value> = serde_json::from_str(&made).unwrap();
    let paths: Vec<_> = made.iter().map(|it| it["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "ci/dist/laptops/fleetd_1.2.3_amd64.deb",
            "ci/dist/laptops/fleetd-1.2.3-1.x86_64.rpm",
            "ci/dist/servers/fleetd_1.2.3_amd64.deb",
        ]
    );
    let secret = |path: &str| {
        let shown = home.fleetctl(["package", "inspect", path, "--show-secret", "-o", "json"]).ok();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        (shown["enroll_secret"]["value"].clone(), shown["settings"]["ORBIT_DEBUG"].clone())
    };
    assert_eq!(secret(paths[1]), ("one secret".into(), Value::Null));
    assert_eq!(secret(paths[2]), ("another secret".into(), "true".into()));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let home = home().with("LAPTOPS", "x");
    let spec = SPEC.split("[[build]]\ntype").next().unwrap();
    home.write("ci/fleet-package.toml", spec);
    let flags = ["--type", "rpm", "--out-dir", "here", "--package-version", "2.0.0"];
    let args = [&["package", "--spec", "ci/fleet-package.toml"], &flags[..]].concat();
    home.fleetctl(args).ok();
    let made = tool("ls", [home.path("here")]);
    assert_eq!(made, "fleetd-2.0.0-1.x86_64.rpm\n");
    assert!(!home.path("ci/dist").exists());
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line_and_nothing_is_built() {
    let home = home().with("LAPTOPS", "x");
    home.write("ci/fleet-package.toml", format!("{SPEC}colour = 1\n"));
    let said = home.fleetctl(["package", "--spec", "ci/fleet-package.toml"]).fails(2);
    assert!(said.contains("line 10: `enroll-secret` names the variable `SERVERS`"), "{said}");
    assert!(said.contains("line 13: `colour` is no key"), "{said}");
    assert!(!home.path("ci/dist").exists());
    let twice = "type = \"deb\"\ncomponents = \"bin\"\n[[build]]\n[[build]]\ndebug = true\n";
    home.write("ci/twice.toml", twice);
    let said = home.fleetctl(["package", "--spec", "ci/twice.toml"]).fails(2);
    assert!(said.contains("would be made twice"), "{said}");
    home.write("ci/none.toml", "components = \"bin\"\n");
    let said = home.fleetctl(["package", "--spec", "ci/none.toml"]).fails(2);
    assert!(said.contains("--type must say what to build"), "{said}");
    let said = home.fleetctl(["package", "--spec", "absent.toml"]).fails(2);
    assert!(said.contains("--spec `absent.toml` cannot be read"), "{said}");
}

/// python's jsonschema knows nothing of ours.
#[test]
fn the_schema_accepts_the_example_and_refuses_mistakes() {
    let home = home();
    home.write("schema.json", home.fleetctl(["generate", "schema"]).ok());
    let judge = "import json,sys,tomllib,jsonschema\n\
        schema=json.load(open('schema.json')); jsonschema.Draft7Validator.check_schema(schema)\n\
        jsonschema.validate(tomllib.load(open(sys.argv[1],'rb')), schema)";
    let accepts = |text: &str| {
        home.write("judged.toml", text);
        let judged = program("python3".as_ref())
            .args(["-c", judge, "judged.toml"])
            .current_dir(home.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        assert!(judged.status.success() || said.contains("ValidationError"), "{said}");
        judged.status.success()
    };
    let example = std::fs::read_to_string("../docs/fleet-package.toml").unwrap();
    assert!(accepts(&example));
    assert!(accepts(SPEC));
    for wrong in ["colour = 1", "debug = \"yes\"", "type = [1.5]", "[[build]]\ncolour = 1"] {
        assert!(!accepts(wrong), "{wrong}");
    }
}

#[test]
fn the_example_names_flags_that_are_there() {
    let home = home().with("LAPTOPS_SECRET", "a").with("SERVERS_SECRET", "b");
    let example = std::fs::read_to_string("../docs/fleet-package.toml").unwrap();
    home.write("fleet-package.toml", example);
    home.write("bin/none", "");
    let said = home.fleetctl(["package", "--spec", "fleet-package.toml", "--dry-run"]).fails(2);
    assert!(said.contains("--components") && !said.contains("line"), "{said}");
}
