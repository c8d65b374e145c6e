//! `fleet-package.toml`: the flags of `fleetctl package` as a file, `--spec`.
//!
//! A key is a flag's name. What it says is added to the command line, unless the flag, or one that stands
//! in for it, is there already, and the whole is parsed again: so a new flag is a key without anybody's
//! doing, and a value is checked in one place.

mod keys;
mod schema;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{Command, FromArgMatches as _, parser::ValueSource};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::keys::{Key, keys};
pub(crate) use self::schema::schema;
use super::args::PackageArgs;
use crate::{
    cli::{self, Cli},
    config,
    exit::Stop,
};

/// Tables of what is built; each takes the keys outside of all tables, too.
const BUILDS: &str = "build";

/// Flags of which one stands in for another: giving one on the command line puts the others of the file
/// out of use.
const ALTERNATIVES: [&[&str]; 3] = [
    &["enroll-secret", "enroll-secret-file"],
    &["outfile", "out-dir", "dry-run"],
    &["components", "update-url"],
];

/// The flags of each thing that the file at `path` says to build. `given` is the command line.
pub(super) fn read(path: &Path, given: &[OsString]) -> Result<Vec<PackageArgs>, Stop> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Stop::usage(format!("--spec `{shown}` cannot be read: {error}")))?;
    let command = crate::command();
    let matches = command.clone().try_get_matches_from(given);
    let matches = matches.map_err(|error| Stop::usage(error.to_string()))?;
    let package = matches.subcommand_matches("package");
    let package = package.ok_or_else(|| Stop::usage("--spec goes with `fleetctl package`"))?;
    let sheet = Sheet { path, text: &text, keys: keys(&command) };
    let on_command_line =
        |key: &&Key| package.value_source(key.id.as_str()) == Some(ValueSource::CommandLine);
    let given_keys = sheet.keys.iter().filter(on_command_line).map(|key| key.name.as_str());
    let lines = sheet
        .lines(&given_keys.collect())
        .map_err(|problems| Stop::Usage { problems, help: None })?;
    lines.into_iter().map(|flags| parse(&command, given, flags, path)).collect()
}

/// The command line `given`, with `flags` at its end.
fn parse(
    command: &Command,
    given: &[OsString],
    flags: Vec<OsString>,
    path: &Path,
) -> Result<PackageArgs, Stop> {
    let all = given.iter().cloned().chain(flags);
    let matches = command.clone().try_get_matches_from(all);
    let wrong = |error: clap::Error| {
        let error = error.to_string();
        let reason = error.lines().next().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        Stop::usage(format!("--spec `{}`: {reason}", path.display()))
    };
    let cli = Cli::from_arg_matches(&matches.map_err(wrong)?).map_err(wrong)?;
    if let cli::Command::Package(args) = cli.command {
        return Ok(*args);
    }
    Err(Stop::usage("--spec goes with `fleetctl package`"))
}

/// A file with flags.
struct Sheet<'a> {
    path: &'a Path,
    text: &'a str,
    keys: Vec<Key>,
}

/// A key, where it stands, and what it says.
type Entry<'a> = (&'a Key, Vec<String>);

impl Sheet<'_> {
    /// The flags of each build. `given` are those of the command line.
    fn lines(&self, given: &BTreeSet<&str>) -> Result<Vec<Vec<OsString>>, Vec<String>> {
        let damaged = |error: toml::de::Error| {
            vec![self.at(error.span().unwrap_or_default(), error.message())]
        };
        let table = DeTable::parse(self.text).map_err(damaged)?;
        let mut problems = Vec::new();
        let table = table.into_inner();
        let common = self.entries(&table, &mut problems);
        let mut builds = Vec::new();
        for (name, value) in table.iter().filter(|(name, _)| name.get_ref() == BUILDS) {
            match tables(value) {
                Some(tables) => builds.extend(tables.map(|it| self.entries(it, &mut problems))),
                None => problems
                    .push(self.at(name.span(), "`build` is not a list of tables, [[build]]")),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if builds.is_empty() {
            builds.push(Vec::new());
        }
        let flags = |own: &Vec<Entry<'_>>| flags(&common, own, given);
        Ok(builds.iter().map(flags).collect())
    }

    fn entries(&self, table: &DeTable<'_>, problems: &mut Vec<String>) -> Vec<Entry<'_>> {
        let mut entries = Vec::new();
        for (name, value) in table.iter().filter(|(name, _)| name.get_ref() != BUILDS) {
            let Some(key) = self.keys.iter().find(|key| key.name == *name.get_ref()) else {
                let reason = format!(
                    "`{}` is no key: keys are the flags of `fleetctl package`",
                    name.get_ref()
                );
                problems.push(self.at(name.span(), &reason));
                continue;
            };
            match self.values(key, value) {
                Ok(values) => entries.push((key, values)),
                Err(reason) => {
                    problems.push(self.at(value.span(), &format!("`{}` {reason}", key.name)))
                }
            }
        }
        entries
    }

    /// The values as they are on a command line.
    fn values(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
        let value = value.get_ref();
        if let (DeValue::Boolean(on), true) = (value, key.switch) {
            return Ok(vec![on.to_string()]);
        }
        if let (DeValue::Array(values), true) = (value, key.many) {
            return values.iter().map(|value| self.text(key, value.get_ref())).collect();
        }
        Ok(vec![self.text(key, value)?])
    }

    fn text(&self, key: &Key, value: &DeValue<'_>) -> Result<String, String> {
        let text = match (value, key.switch) {
            (DeValue::String(text), false) => interpolated(text)?,
            (DeValue::Integer(number), false) => number.to_string(),
            (_, _) => return Err(format!("is to be {}", key.kind())),
        };
        if !key.is_path(&text) {
            return Ok(text);
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path: PathBuf = folder.join(&text);
        path.into_os_string()
            .into_string()
            .map_err(|_| "is in a folder whose name is not UTF-8".to_owned())
    }

    /// `reason`, with the line that it is about.
    fn at(&self, span: Range<usize>, reason: &str) -> String {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        format!("--spec `{}`, line {line}: {reason}", self.path.display())
    }
}

fn tables<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
) -> Option<impl Iterator<Item = &'a DeTable<'i>>> {
    let DeValue::Array(tables) = value.get_ref() else { return None };
    let table = |value: &'a Spanned<DeValue<'i>>| value.get_ref().as_table();
    let tables = tables.iter().map(table).collect::<Option<Vec<_>>>()?;
    Some(tables.into_iter())
}

/// What is to be added to the command line: a build's own keys, and the common ones that they leave.
/// `given` are the flags that are there.
fn flags(common: &[Entry<'_>], own: &[Entry<'_>], given: &BTreeSet<&str>) -> Vec<OsString> {
    let given = with_alternatives(given.iter().copied());
    let own: Vec<_> = own.iter().filter(|(key, _)| !given.contains(key.name.as_str())).collect();
    let replaced = with_alternatives(own.iter().map(|(key, _)| key.name.as_str()));
    let common = common.iter().filter(|(key, _)| {
        let name = key.name.as_str();
        !given.contains(name) && !replaced.contains(name)
    });
    let flag = |(key, values): &Entry<'_>| {
        let flag = |value: &String| OsString::from(format!("--{}={value}", key.name));
        values.iter().map(flag).collect::<Vec<_>>()
    };
    own.into_iter().chain(common).flat_map(flag).collect()
}

/// `names`, and those that one of them puts out of use.
fn with_alternatives<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut all: BTreeSet<_> = names.collect();
    for alternatives in ALTERNATIVES {
        if alternatives.iter().any(|name| all.contains(name)) {
            all.extend(alternatives);
        }
    }
    all
}

/// `text` with the values of the variables that it names as `${NAME}`; `$$` stands for a dollar sign.
fn interpolated(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) =
            after.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            let value = config::variable(name);
            let unset = || format!("names the variable `{name}`, which is not set or empty");
            out.push_str(&value.ok_or_else(unset)?.0);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests;
