//! What is expected of a package whatever its format, and of the agent's in particular.

use std::collections::BTreeMap;

use super::{Check, Contents, Found, FoundKind, Kind, Outcome};

/// Where agents are, ours and Fleet's, on each system.
const ROOTS: [&str; 2] = ["/opt/orbit", "/ProgramFiles64Folder/Orbit"];

/// Checks what `contents` lay.
#[must_use]
pub fn check(contents: &Contents) -> Vec<Check> {
    let mut checks = vec![
        Check::of_many("paths are plain", &odd_paths(contents)),
        Check::of_many(
            "nothing runs as somebody else or can be changed by everybody",
            &open(contents),
        ),
    ];
    if matches!(contents.kind, Kind::Msi | Kind::Pkg) {
        checks.push(Check::of_many("no two names differ in case alone", &same_names(contents)));
    }
    if contents.settings.secret.is_some() {
        checks.push(private(contents));
    }
    checks.extend(agent(contents));
    checks
}

fn odd_paths(contents: &Contents) -> Vec<String> {
    let odd = |path: &&String| {
        path.split('/').any(|part| matches!(part, "." | "..")) || path.contains(char::is_control)
    };
    contents.files.keys().filter(odd).map(|path| format!("{path:?}")).collect()
}

fn open(contents: &Contents) -> Vec<String> {
    const SET_ID: u32 = 0o6000;
    const STICKY: u32 = 0o1000;
    const EVERYBODY: u32 = 0o002;
    let is_open = |found: &Found| {
        let Some(mode) = found.mode.filter(|_| found.kind != FoundKind::Symlink) else {
            return false;
        };
        let set_id = found.kind == FoundKind::File && mode & SET_ID != 0;
        set_id || (mode & EVERYBODY != 0 && mode & STICKY == 0)
    };
    let open = contents.files.iter().filter(|(_, found)| is_open(found));
    open.map(|(path, found)| format!("`{path}` has mode {:04o}", found.mode.unwrap_or_default()))
        .collect()
}

fn same_names(contents: &Contents) -> Vec<String> {
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let mut same = Vec::new();
    for path in contents.files.keys() {
        if let Some(other) = names.insert(path.to_lowercase(), path) {
            same.push(format!("`{other}` and `{path}`"));
        }
    }
    same
}

/// Whoever installs a package may read it; whoever uses the device may not.
fn private(contents: &Contents) -> Check {
    const OTHERS: u32 = 0o077;
    const WHAT: &str = "the secret is for the system alone";
    if contents.kind == Kind::Msi {
        let reason = "rights are given by the installer's table MsiLockPermissionsEx".to_owned();
        return Check::new(WHAT, Outcome::Unchecked(reason));
    }
    let secrets = contents.files.iter().filter(|(path, _)| contents.settings.is_secret(path));
    let open = secrets.filter(|(_, found)| found.mode.unwrap_or_default() & OTHERS != 0);
    let open: Vec<_> = open.map(|(path, _)| format!("others can read `{path}`")).collect();
    Check::of_many(WHAT, &open)
}

/// What an agent's package has; nothing of one that is none.
fn agent(contents: &Contents) -> Option<Check> {
    let root = ROOTS.into_iter().find(|root| contents.files.contains_key(*root))?;
    let program = contents.files.iter().any(|(path, found)| {
        let name = path.rsplit('/').next().unwrap_or_default();
        path.starts_with(root)
            && matches!(name, "orbit" | "orbit.exe")
            && found.kind == FoundKind::File
    });
    let starts = |path: &String| {
        path.ends_with("/orbit.service") || path.ends_with("/com.fleetdm.orbit.plist")
    };
    let service = contents.files.keys().any(starts)
        || contents.scripts.keys().any(|name| name.starts_with("service "));
    let foreign = contents.files.values().filter(|found| {
        let (user, _) = found.owner.split_once(':').unwrap_or_default();
        !matches!(user, "" | "0" | "root")
    });
    let mut wrong = Vec::new();
    if !program {
        wrong.push(format!("there is no program orbit below `{root}`"));
    }
    if !service {
        wrong.push("nothing starts it".to_owned());
    }
    match foreign.count() {
        0 => {}
        count => wrong.push(format!("{count} of its files do not belong to root")),
    }
    Some(Check::of_many("the agent's layout", &wrong))
}
