//! Questions to the person at the terminal, and secrets from standard input.

use std::{
    convert::Infallible,
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
};

use anyhow::Context as _;
use wire::api::Hidden;

use crate::exit::Stop;

/// The longest text taken from standard input; nothing that is a secret is longer.
const MAX_INPUT: u64 = 64 * 1024;

/// A password: the first line of standard input if `from_stdin`, else asked for.
pub(crate) fn password(from_stdin: bool) -> anyhow::Result<Hidden> {
    if from_stdin {
        return stdin_line();
    }
    ask_hidden("Password: ", "--password-stdin")
}

/// A new password, asked for twice.
pub(crate) fn new_password(from_stdin: bool) -> anyhow::Result<Hidden> {
    if from_stdin {
        return stdin_line();
    }
    let password = ask_hidden("Password: ", "--password-stdin")?;
    if ask_hidden("Password again: ", "--password-stdin")? != password {
        return Err(Stop::usage("the passwords differ").into());
    }
    Ok(password)
}

/// Asks for something that is not shown. Where nobody can be asked, `instead` is what to give.
pub(crate) fn ask_hidden(question: &str, instead: &str) -> anyhow::Result<Hidden> {
    if !io::stdin().is_terminal() {
        let problem = format!("nobody is at the terminal to be asked; give {instead}");
        return Err(Stop::usage(problem).into());
    }
    rpassword::prompt_password(question).map(Hidden).context("could not ask for a password")
}

/// A line of text: what was given, else asked for.
pub(crate) fn text(given: Option<String>, question: &str, instead: &str) -> anyhow::Result<String> {
    if let Some(given) = given {
        return Ok(given);
    }
    let answer = ask(question, instead)?;
    if answer.is_empty() {
        Err(Stop::usage(format!("{instead} is missing")).into())
    } else {
        Ok(answer)
    }
}

/// Refuses unless `yes` was given or the person agrees.
pub(crate) fn confirm(yes: bool, question: &str) -> anyhow::Result<()> {
    if yes || agrees(&ask(&format!("{question} [y/N] "), "--yes")?) {
        return Ok(());
    }
    Err(Stop::Failed { message: "not confirmed; nothing was done".to_owned(), help: None }.into())
}

fn agrees(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes))
}

fn ask(question: &str, instead: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        let problem = format!("nobody is at the terminal to be asked; give {instead}");
        return Err(Stop::usage(problem).into());
    }
    let mut answer = String::new();
    let mut terminal = anstream::stderr().lock();
    write!(terminal, "{question}")
        .and_then(|()| terminal.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .context("could not ask")?;
    Ok(answer.trim().to_owned())
}

/// Standard input up to its first line end, which is not part of it.
pub(crate) fn stdin_line() -> anyhow::Result<Hidden> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX_INPUT)
        .read_line(&mut text)
        .context("could not read standard input")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Stop::usage("standard input is empty").into());
    }
    Ok(Hidden(line.to_owned()))
}

/// Takes a flag's value as something that is not shown.
pub(crate) fn hidden(text: &str) -> Result<Hidden, Infallible> {
    Ok(Hidden(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(["y", "Y", "yes", "Yes"].into_iter().all(agrees));
        assert!(!["", "n", "no", "ye", "yes, but"].into_iter().any(agrees));
    }
}
