//! All that `fleetctl` prints. Data goes to standard output, talk to standard error.

mod progress;
mod table;

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

pub(crate) use self::{
    progress::{Progress, Steps},
    table::{Table, clean, time},
};
use crate::exit::Stop;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR, CLICOLOR=0 or TERM=dumb says otherwise
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// The same for clap, which prints help and usage errors.
    pub(crate) fn for_clap(self) -> clap::ColorChoice {
        match self {
            Self::Auto => clap::ColorChoice::Auto,
            Self::Always => clap::ColorChoice::Always,
            Self::Never => clap::ColorChoice::Never,
        }
    }

    fn for_stream(self) -> anstream::ColorChoice {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
    }
}

/// How data is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    Json,
    Yaml,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Volume {
    /// Data, warnings and errors.
    Quiet,
    #[default]
    Normal,
    /// Also what is done on the way.
    Verbose,
}

/// The user's terminal, or what stands in for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shell {
    color: Color,
    volume: Volume,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const DONE: Style = AnsiColor::Green.on_default().bold();

impl Shell {
    pub(crate) fn new(color: Color, volume: Volume) -> Self {
        Self { color, volume }
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.volume == Volume::Quiet
    }

    /// Writes `text` and a line end to standard output.
    pub(crate) fn line(self, text: impl Display) -> anyhow::Result<()> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Writes `bytes` to standard output as they are, but for colours nobody wants.
    pub(crate) fn raw(self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = AutoStream::new(io::stdout(), self.color.for_stream()).lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Stop::OutputClosed.into())
            }
            result => result.context("could not write to standard output"),
        }
    }

    /// Writes `data` as JSON or YAML, or what `table` makes of it.
    pub(crate) fn data<T: Serialize + ?Sized>(
        self,
        format: Format,
        data: &T,
        table: impl FnOnce(&T) -> Table,
    ) -> anyhow::Result<()> {
        match format {
            Format::Table => self.raw(table(data).render().as_bytes()),
            Format::Json => {
                self.line(serde_json::to_string_pretty(data).context("could not write JSON")?)
            }
            Format::Yaml => {
                self.raw(serde_norway::to_string(data).context("could not write YAML")?.as_bytes())
            }
        }
    }

    /// Says that something was done.
    pub(crate) fn done(self, text: impl Display) {
        if !self.is_quiet() {
            self.say(DONE, "done", text);
        }
    }

    /// Says what is worth knowing.
    pub(crate) fn note(self, text: impl Display) {
        if !self.is_quiet() {
            self.say(NOTE, "note", text);
        }
    }

    /// Says what is being done, to those who asked.
    pub(crate) fn verbose(self, text: impl Display) {
        if self.volume == Volume::Verbose {
            self.say(NOTE, "info", text);
        }
    }

    pub(crate) fn warn(self, text: impl Display) {
        self.say(WARNING, "warning", text);
    }

    /// Prints an error with its causes, and advice if there is any.
    pub(crate) fn error(self, error: &anyhow::Error, help: Option<&str>) {
        self.say(ERROR, "error", clean_lines(&format!("{error:#}")));
        if let Some(help) = help {
            self.say(NOTE, "help", help);
        }
    }

    /// Where bars may move: on a terminal whose user wants to hear of it.
    pub(crate) fn progress(self) -> Progress {
        Progress::new(!self.is_quiet() && io::stderr().is_terminal())
    }

    fn say(self, style: Style, label: &str, text: impl Display) {
        let mut err = AutoStream::new(io::stderr(), self.color.for_stream()).lock();
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(err, "{style}{label}{style:#}: {text}");
    }
}

/// `text` without what could steer a terminal; line ends stay.
pub(crate) fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}
