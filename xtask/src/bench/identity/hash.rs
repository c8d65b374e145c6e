//! What hashing alone takes: bcrypt on every core, and nothing else.

use std::{
    thread::{self, available_parallelism},
    time::Instant,
};

use anyhow::Context as _;
use rustix::process::setpriority_process;

use crate::bench::measure::cpu_of;

/// How nice the server's own hashing threads are.
const NICENESS: i32 = 10;

/// Hashes `each` passwords on every core; gives hashes a second, and seconds of processor for one.
#[expect(clippy::disallowed_methods, reason = "it measures how long hashing takes")]
pub(super) fn ceiling(cost: u32, each: usize) -> anyhow::Result<(f64, f64)> {
    let cores = available_parallelism().map_or(1, usize::from);
    let (begin, before) = (Instant::now(), cpu_of(std::process::id())?);
    let work = || {
        thread::spawn(move || {
            // Of this thread alone, as Linux has it.
            let _as_it_is = setpriority_process(None, NICENESS);
            (0..each).try_for_each(|_| bcrypt::hash("Copper walrus, 7 ledgers", cost).map(drop))
        })
    };
    let threads: Vec<_> = (0..cores).map(|_| work()).collect();
    for thread in threads {
        thread.join().ok().context("a thread panicked")?.context("could not hash")?;
    }
    let count = super::as_f64(cores * each);
    let used = cpu_of(std::process::id())? - before;
    Ok((count / begin.elapsed().as_secs_f64(), used / count))
}
