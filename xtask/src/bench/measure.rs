//! What a process and all that it started took: time, processor, memory.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use wait4::Wait4 as _;

/// One run of one tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) wall: Duration,
    /// User and system time of the process and its children.
    pub(super) cpu: Duration,
    /// The most memory that any one of its processes had, in bytes.
    pub(super) memory: u64,
    /// Bytes of what it wrote.
    pub(super) size: u64,
}

/// The medians of several runs, each of its own quantity.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Median {
    pub(super) wall_seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_bytes: u64,
    pub(super) size_bytes: u64,
}

impl Run {
    /// Runs `command` to its end. The size is filled in by who knows where the output is.
    #[expect(clippy::disallowed_methods, reason = "it measures how long the tool takes")]
    pub(super) fn of(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
        let used = child.wait4().with_context(|| format!("could not wait for {command:?}"))?;
        let wall = start.elapsed();
        if !used.status.success() {
            bail!("{command:?} failed ({})", used.status);
        }
        let cpu = used.rusage.utime + used.rusage.stime;
        Ok(Self { wall, cpu, memory: used.rusage.maxrss, size: 0 })
    }
}

impl Median {
    pub(super) fn of(runs: &[Run]) -> Self {
        let seconds = |of: fn(&Run) -> Duration| median(runs.iter().map(of)).as_secs_f64();
        Self {
            wall_seconds: seconds(|run| run.wall),
            cpu_seconds: seconds(|run| run.cpu),
            peak_bytes: median(runs.iter().map(|run| run.memory)),
            size_bytes: median(runs.iter().map(|run| run.size)),
        }
    }
}

/// The middle one, the lower of two; the default of nothing.
fn median<T: Copy + Ord + Default>(values: impl Iterator<Item = T>) -> T {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort();
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3, 1, 2].into_iter()), 2);
        assert_eq!(median([4, 1, 2, 3].into_iter()), 2);
        assert_eq!(median([0; 0].into_iter()), 0);
    }
}
