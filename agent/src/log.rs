//! Messages on standard error: plain lines for a terminal or file, and what journald likes when it
//! listens: a priority in front, and no time, which it knows itself. Where there is no journal, a
//! file that [`rotation`] keeps small.

pub mod rotation;

use std::{fmt, sync::Arc};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
};

/// How messages are written, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Say more.
    pub debug: bool,
    /// Standard error goes to journald.
    pub journal: bool,
}

/// Says how many messages there are while they are written.
#[derive(Clone)]
pub struct Volume(Arc<dyn Fn(bool) + Send + Sync>);

impl Volume {
    /// Has more messages written from here on, or as many as without [`Style::debug`].
    pub fn turn(&self, up: bool) {
        (self.0)(up);
    }
}

impl Default for Volume {
    /// One that turns nothing.
    fn default() -> Self {
        Self(Arc::new(|_| ()))
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Volume")
    }
}

/// Builds what receives messages and writes them to `writer`, and what says how many.
pub fn subscriber<W>(style: Style, writer: W) -> (Box<dyn Subscriber + Send + Sync>, Volume)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry();
    let (filter, handle) = reload::Layer::new(targets(style.debug));
    let volume = Volume(Arc::new(move |up| {
        // Without a subscriber there are no messages.
        let _ = handle.reload(targets(up));
    }));
    if style.journal {
        (Box::new(registry.with(layer.event_format(Journal).with_filter(filter))), volume)
    } else {
        (Box::new(registry.with(layer.with_target(false).with_filter(filter))), volume)
    }
}

fn targets(debug: bool) -> Targets {
    let ours = if debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("agent", ours)
        .with_target("orbit", ours)
        .with_target("osqueryd", ours)
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

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::Mutex,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn as_many_messages_come_as_was_said_last() {
        let written = Written::default();
        let writer = written.clone();
        let style = Style { debug: true, journal: true };
        let (subscriber, volume) = subscriber(style, move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let say = |number| tracing::debug!(target: "agent", "detail {number}");
        say(1);
        volume.turn(false);
        say(2);
        volume.turn(true);
        say(3);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<7>detail 1\n<7>detail 3\n");
    }
}
