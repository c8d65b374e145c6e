//! Bars on a terminal, nothing elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bars of one command. Cheap to clone; all clones draw on the same lines.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Absent where nobody looks: then a bar costs nothing.
    bars: Option<MultiProgress>,
}

impl Progress {
    pub(super) fn new(visible: bool) -> Self {
        let bars = visible
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12)));
        Self { bars }
    }

    /// A bar for `what`, which is `total` bytes long; a spinner where that is not known.
    pub(crate) fn bytes(&self, what: impl Into<String>, total: Option<u64>) -> Steps {
        let Some(bars) = &self.bars else { return Steps(None) };
        let bar = bars.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        let template = match total {
            Some(_) => "{prefix:32} {bar:24} {bytes:>10} / {total_bytes}",
            None => "{prefix:32} {spinner} {bytes:>10}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is constant"));
        bar.set_prefix(what.into());
        Steps(Some(bar))
    }
}

/// One bar.
#[derive(Debug, Clone)]
pub(crate) struct Steps(Option<ProgressBar>);

impl Steps {
    /// That many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
