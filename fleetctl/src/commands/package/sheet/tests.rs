//! What a sheet says becomes flags, and its mistakes are told with their lines.

use std::path::Path;

use super::*;

/// The flags of each build that `text` asks for, where `given` are there already.
fn lines(text: &str, given: &[&str]) -> Result<Vec<Vec<String>>, Vec<String>> {
    let path = Path::new("ci/fleet-package.toml");
    let sheet = Sheet { path, text, keys: keys(&crate::command()) };
    let lines = sheet.lines(&given.iter().copied().collect())?;
    let text =
        |flags: Vec<OsString>| flags.into_iter().map(|flag| flag.into_string().unwrap()).collect();
    Ok(lines.into_iter().map(text).collect())
}

fn only(text: &str, given: &[&str]) -> Vec<String> {
    let [only] = lines(text, given).unwrap().try_into().unwrap();
    only
}

#[test]
fn every_flag_has_a_key_that_reaches_it() {
    let command = crate::command();
    for key in keys(&command) {
        let value = if key.switch { "true".to_owned() } else { "\"1\"".to_owned() };
        let flags = only(&format!("{} = {value}", key.name), &[]);
        assert_eq!(flags.len(), 1, "{}", key.name);
        let line = ["fleetctl", "package", "--type", "deb"].map(OsString::from);
        let line = if key.name == "type" { &line[..2] } else { &line[..] };
        let all = line.iter().cloned().chain(flags.into_iter().map(OsString::from));
        let matches = match command.clone().try_get_matches_from(all) {
            Ok(matches) => matches,
            // A closed choice has no `1`; that it was looked at is enough.
            Err(error) => {
                assert!(error.to_string().contains(&format!("--{}", key.name)), "{error}");
                continue;
            }
        };
        let package = matches.subcommand_matches("package").unwrap();
        assert_eq!(
            package.value_source(key.id.as_str()),
            Some(ValueSource::CommandLine),
            "{}",
            key.name
        );
    }
}

#[test]
fn keys_become_flags_and_paths_are_below_the_file() {
    let text = "type = [\"deb\", \"rpm\"]\ndebug = true\ncpu-quota = 20\ncomponents = \"bin\"\n\
        enroll-secret-file = \"-\"\nupdate-url = \"https://u.example.com\"\nmaintainer = 'a $$ b'\n";
    let mut flags = only(text, &[]);
    flags.sort();
    assert_eq!(
        flags,
        [
            "--components=ci/bin",
            "--cpu-quota=20",
            "--debug=true",
            "--enroll-secret-file=-",
            "--maintainer=a $ b",
            "--type=deb",
            "--type=rpm",
            "--update-url=https://u.example.com",
        ]
    );
}

#[test]
fn a_build_wins_over_the_file_and_the_command_line_over_both() {
    let text = "type = \"deb\"\nout-dir = \"a\"\nenroll-secret = \"x\"\n\
        [[build]]\noutfile = \"b.deb\"\n[[build]]\ntype = \"rpm\"\n";
    let sorted = |given: &[&str]| {
        let mut lines = lines(text, given).unwrap();
        lines.iter_mut().for_each(|line| line.sort());
        lines
    };
    assert_eq!(
        sorted(&[]),
        [
            ["--enroll-secret=x", "--outfile=ci/b.deb", "--type=deb"],
            ["--enroll-secret=x", "--out-dir=ci/a", "--type=rpm"],
        ]
    );
    assert_eq!(sorted(&["enroll-secret-file", "type", "outfile"]), [[""; 0], [""; 0]]);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_line() {
    let text = "type = \"deb\"\n\ndebug = \"yes\"\nfleet_url = \"x\"\n\
        enroll-secret = \"${NO_SUCH_VARIABLE_HERE}\"\n[[build]]\narch = [[\"x\"]]\ncolor = 1\n";
    let told = lines(text, &[]).unwrap_err();
    let at =
        |line: usize, what: &str| format!("--spec `ci/fleet-package.toml`, line {line}: {what}");
    let mut expected = vec![
        at(3, "`debug` is to be true or false"),
        at(4, "`fleet_url` is no key: keys are the flags of `fleetctl package`"),
        at(
            5,
            "`enroll-secret` names the variable `NO_SUCH_VARIABLE_HERE`, which is not set or empty",
        ),
        at(7, "`arch` is to be a text or a list of texts"),
        at(8, "`color` is no key: keys are the flags of `fleetctl package`"),
    ];
    let mut told_sorted = told;
    told_sorted.sort();
    expected.sort();
    assert_eq!(told_sorted, expected);
    let broken = lines("type = \"deb\"\ndebug == true\n", &[]).unwrap_err();
    assert!(broken[0].contains(", line 2: "), "{broken:?}");
}
