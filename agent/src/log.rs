//! Messages on standard error: plain lines for a terminal or file, and what journald likes when it
//! listens: a priority in front, and no time, which it knows itself. Where there is no journal, a
//! file that [`rotation`] keeps small.

pub mod rotation;

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

/// How messages are written, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Say more.
    pub debug: bool,
    /// Standard error goes to journald.
    pub journal: bool,
}

/// Builds what receives messages and writes them to `writer`.
pub fn subscriber<W>(style: Style, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let ours = if style.debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("agent", ours)
        .with_target("orbit", ours)
        .with_target("osqueryd", ours);
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry();
    if style.journal {
        Box::new(registry.with(layer.event_format(Journal).with_filter(filter)))
    } else {
        Box::new(registry.with(layer.with_target(false).with_filter(filter)))
    }
}

/// `<priority>message field=value …` (sd-daemon(3)), always one line.
#[derive(Debug)]
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        for c in text.trim_end().chars() {
            writer.write_char(if c.is_control() { ' ' } else { c })?;
        }
        writeln!(writer)
    }
}

/// syslog's priorities.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
