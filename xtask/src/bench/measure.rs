//! What a process and all that it started took: time, processor, memory.

use std::{
    fs,
    path::Path,
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
    /// User time of them alone.
    pub(super) user: Duration,
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
    pub(super) user_seconds: f64,
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
        let user = used.rusage.utime;
        let cpu = user + used.rusage.stime;
        Ok(Self { wall, cpu, user, memory: used.rusage.maxrss, size: 0 })
    }
}

impl Median {
    pub(super) fn of(runs: &[Run]) -> Self {
        let seconds = |of: fn(&Run) -> Duration| median(runs.iter().map(of)).as_secs_f64();
        Self {
            wall_seconds: seconds(|run| run.wall),
            cpu_seconds: seconds(|run| run.cpu),
            user_seconds: seconds(|run| run.user),
            peak_bytes: median(runs.iter().map(|run| run.memory)),
            size_bytes: median(runs.iter().map(|run| run.size)),
        }
    }
}

/// In which the system counts processor time, a second: the same on every Linux.
const TICKS: f64 = 100.0;

/// Seconds of processor time that a process has used, in all of its threads.
pub(super) fn cpu_of(pid: u32) -> anyhow::Result<f64> {
    let stat = read(pid, "stat")?;
    // The program's name may hold spaces.
    let (_, fields) =
        stat.rsplit_once(") ").context("the system does not say what a process used")?;
    let ticks: u32 =
        fields.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u32>().ok()).sum();
    Ok(f64::from(ticks) / TICKS)
}

/// Bytes of memory that a process has at this moment.
pub(super) fn memory_of(pid: u32) -> anyhow::Result<u64> {
    let kilobytes = field(&read(pid, "status")?, "VmRSS:");
    Ok(kilobytes.context("the system does not say how much memory a process has")? * 1024)
}

/// How often the threads of a process, those that it has now, have slept.
pub(super) fn sleeps_of(pid: u32) -> anyhow::Result<u64> {
    let threads = Path::new("/proc").join(pid.to_string()).join("task");
    let threads = fs::read_dir(&threads).context("could not list a process's threads")?;
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).ok();
    let sleeps = |status: String| field(&status, "voluntary_ctxt_switches:");
    Ok(threads.flatten().filter_map(status).filter_map(sleeps).sum())
}

/// The number that follows `name` at the start of a line.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

fn read(pid: u32, name: &str) -> anyhow::Result<String> {
    let path = Path::new("/proc").join(pid.to_string()).join(name);
    fs::read_to_string(&path).with_context(|| format!("could not read `{}`", path.display()))
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
    use super::{field, median};

    #[test]
    fn a_field_is_a_number_at_the_start_of_a_line() {
        let status = "Name:\torbit\nVmRSS:\t   10240 kB\nnonvoluntary_ctxt_switches:\t1\n";
        assert_eq!(field(status, "VmRSS:"), Some(10240));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3, 1, 2].into_iter()), 2);
        assert_eq!(median([4, 1, 2, 3].into_iter()), 2);
        assert_eq!(median([0; 0].into_iter()), 0);
    }
}
