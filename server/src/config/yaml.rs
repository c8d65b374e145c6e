//! Reading YAML so that every mistake is reported, each with its line.

use serde::de::DeserializeOwned;

/// Parses `text`. Mistakes are struck out and the rest is read again, until nothing is wrong or
/// what is wrong cannot be placed. Each problem begins with its line number.
pub(super) fn parse<T: DeserializeOwned + Default>(text: &str) -> (T, Vec<String>) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut problems = Vec::new();
    loop {
        let rest = lines.join("\n");
        if is_blank(&rest) {
            return (T::default(), problems);
        }
        let error = match serde_norway::from_str(&rest) {
            Ok(value) => return (value, problems),
            Err(error) => error,
        };
        let Some(location) = error.location() else {
            problems.push(format!(" {error}"));
            return (T::default(), problems);
        };
        let index = culprit(&lines, location.line().saturating_sub(1), &error.to_string());
        problems.push(format!("{}: {}", index + 1, without_location(&error.to_string())));
        if !strike(&mut lines, index) {
            return (T::default(), problems);
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// The line that is to blame: of an unknown field, the one that names it.
fn culprit(lines: &[String], reported: usize, message: &str) -> usize {
    let named = message.split("unknown field `").nth(1).and_then(|rest| rest.split('`').next());
    let Some(name) = named else { return reported.min(lines.len().saturating_sub(1)) };
    let names_it = |line: &String| {
        let key = line.trim_start().trim_start_matches("- ");
        key.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    (reported..lines.len())
        .find(|index| names_it(&lines[*index]))
        .or_else(|| lines.iter().position(names_it))
        .unwrap_or(reported)
}

/// Blanks a line and everything indented below it. `false` when it was blank already.
fn strike(lines: &mut [String], index: usize) -> bool {
    let Some(line) = lines.get(index) else { return false };
    if line.trim().is_empty() {
        return false;
    }
    let depth = indentation(line);
    let below = lines[index + 1..]
        .iter()
        .take_while(|line| line.trim().is_empty() || indentation(line) > depth)
        .count();
    for line in &mut lines[index..=index + below] {
        line.clear();
    }
    true
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn without_location(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        size: u32,
        inner: Inner,
        #[serde(rename = "map")]
        _map: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        count: u32,
    }

    #[test]
    fn every_mistake_is_reported_with_its_line() {
        let text =
            "size: 4\ncolour: red\ninner:\n  count: many\n  shape:\n    round: true\nlast: 1\n";
        let (sample, problems) = parse::<Sample>(text);
        let lines: Vec<_> =
            problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        assert_eq!(sample.size, 4);
        assert_eq!(sample.inner.count, 0);
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["2", "4", "5", "7"], "{problems:?}");
    }

    #[test]
    fn an_empty_file_is_every_default() {
        assert!(parse::<Sample>("\n# nothing\n").1.is_empty());
    }

    #[test]
    fn broken_yaml_ends_with_a_problem() {
        for text in ["size: [", "size: 1\n size: 2", "- a", "size: {a: 1"] {
            assert!(!parse::<Sample>(text).1.is_empty(), "{text:?}");
        }
    }
}
