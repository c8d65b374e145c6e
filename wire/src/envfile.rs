//! Environment files as systemd's `EnvironmentFile=` reads them.
//!
//! Source: systemd.exec(5) and the parser in systemd's `env-file.c`, whose states [`parse`]
//! follows one by one. What [`render`] writes is read alike by systemd 219 and later and by a
//! POSIX shell that sources the file.

use std::fmt::Write as _;

/// Writes `vars` as one `NAME="value"` line each, in the order given.
///
/// Names must be shell names and values free of NUL; everything else survives: spaces, quotes,
/// backslashes, `$`, `%`, `#`, newlines, non-ASCII.
pub fn render<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in vars {
        let _ = writeln!(text, "{name}={}", quote(value));
    }
    text
}

fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        if needs_escape(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// What a backslash protects inside double quotes; before anything else it stands for itself.
fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '`' | '$')
}

/// Reads assignments in the order of the file. Never fails: like systemd, it passes over lines
/// that are no assignment. A name that is assigned twice appears twice; the later one counts.
#[must_use]
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut reader = Reader::default();
    for c in text.chars() {
        reader.state = reader.on(c);
    }
    if !matches!(
        reader.state,
        State::BeforeName | State::Name | State::Comment | State::CommentEscape
    ) {
        reader.finish();
    }
    reader.vars
}

#[derive(Default)]
struct Reader {
    state: State,
    name: String,
    value: String,
    /// Length of `value` up to and with its last character that trimming must not touch.
    kept: usize,
    vars: Vec<(String, String)>,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    BeforeName,
    Name,
    BeforeValue,
    Value,
    ValueEscape,
    Single,
    Double,
    DoubleEscape,
    Comment,
    CommentEscape,
}

impl Reader {
    fn on(&mut self, c: char) -> State {
        match self.state {
            State::BeforeName => self.before_name(c),
            State::Name => self.name(c),
            State::BeforeValue => self.before_value(c),
            State::Value => self.value(c),
            State::ValueEscape => self.value_escape(c),
            State::Single => self.single(c),
            State::Double => self.double(c),
            State::DoubleEscape => self.double_escape(c),
            State::Comment if c == '\\' => State::CommentEscape,
            State::Comment if c == '\n' => State::BeforeName,
            State::Comment | State::CommentEscape => State::Comment,
        }
    }

    fn before_name(&mut self, c: char) -> State {
        match c {
            '#' | ';' => State::Comment,
            c if c.is_ascii_whitespace() => State::BeforeName,
            c => {
                self.name = String::from(c);
                State::Name
            }
        }
    }

    fn name(&mut self, c: char) -> State {
        match c {
            '\n' => State::BeforeName,
            '=' => {
                self.value.clear();
                self.kept = 0;
                State::BeforeValue
            }
            c => {
                self.name.push(c);
                State::Name
            }
        }
    }

    fn before_value(&mut self, c: char) -> State {
        match c {
            '\n' => self.finish(),
            '\'' => State::Single,
            '"' => State::Double,
            '\\' => State::ValueEscape,
            c if c.is_ascii_whitespace() => State::BeforeValue,
            c => {
                self.keep(c);
                State::Value
            }
        }
    }

    fn value(&mut self, c: char) -> State {
        match c {
            '\n' => self.finish(),
            '\\' => {
                self.kept = self.value.len();
                State::ValueEscape
            }
            c if c.is_ascii_whitespace() => {
                self.value.push(c);
                State::Value
            }
            c => {
                self.keep(c);
                State::Value
            }
        }
    }

    fn value_escape(&mut self, c: char) -> State {
        if c != '\n' {
            self.keep(c);
        }
        State::Value
    }

    fn single(&mut self, c: char) -> State {
        if c == '\'' {
            return State::BeforeValue;
        }
        self.keep(c);
        State::Single
    }

    fn double(&mut self, c: char) -> State {
        match c {
            '"' => State::BeforeValue,
            '\\' => State::DoubleEscape,
            c => {
                self.keep(c);
                State::Double
            }
        }
    }

    fn double_escape(&mut self, c: char) -> State {
        if needs_escape(c) {
            self.keep(c);
        } else if c != '\n' {
            self.keep('\\');
            self.keep(c);
        }
        State::Double
    }

    fn keep(&mut self, c: char) {
        self.value.push(c);
        self.kept = self.value.len();
    }

    fn finish(&mut self) -> State {
        self.value.truncate(self.kept);
        let name = self.name.trim_end().to_owned();
        self.vars.push((name, std::mem::take(&mut self.value)));
        State::BeforeName
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let vars = parse(text);
        let vars: Vec<_> = vars.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(vars, expected, "{text:?}");
    }

    #[test]
    fn reads_what_administrators_write() {
        check("A=1\nB= two words \n", &[("A", "1"), ("B", "two words")]);
        check("# A=1\n; B=2\n\n  C=3", &[("C", "3")]);
        check("A='single $x \\ '\nB=\"d\\\"q \\x\"", &[("A", "single $x \\ "), ("B", "d\"q \\x")]);
        check("A=a\\\nb\nB=c\\ \n", &[("A", "ab"), ("B", "c ")]);
        check("A=\"x\"'y'z\nno assignment\nB=", &[("A", "xyz"), ("B", "")]);
        check("A=it's#not a comment", &[("A", "it's#not a comment")]);
    }

    #[test]
    fn later_assignments_follow_earlier_ones() {
        check("A=1\nA=2", &[("A", "1"), ("A", "2")]);
    }

    proptest! {
        #[test]
        fn whatever_is_rendered_is_read_back(values in proptest::collection::vec("[^\0]{0,40}", 0..5)) {
            let vars: Vec<_> = values.iter().map(|value| ("NAME", value.as_str())).collect();
            let read = parse(&render(vars.iter().copied()));
            let read: Vec<_> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            prop_assert_eq!(read, vars);
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
