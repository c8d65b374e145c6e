//! What was measured, for people.

use std::thread;

use super::{Contest, Entry, Median, Results, matrix::Measured, payload::Payload};
use crate::terminal;

/// Our wall time by that of the floor is to be at most this.
const FLOOR_GOAL: f64 = 1.15;

/// The same for all packages in one call, by the sum of their floors.
const MATRIX_GOAL: f64 = 1.5;

const MEBIBYTE: f64 = 1_048_576.0;

pub(super) fn print(payload: &Payload, runs: usize, results: &Results) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    terminal::heading(&format!(
        "{:.1} MB in three programs, {cores} cores, medians of {runs} runs each",
        megabytes(payload.size)
    ));
    terminal::line("ratios: ours by theirs, less than 1 is ahead");
    results.contests.iter().for_each(print_contest);
    if let Some(matrix) = &results.matrix {
        print_matrix(matrix);
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn print_matrix(Measured { packages, ours, work_seconds }: &Measured) {
    terminal::heading(&format!("{packages} packages in one call"));
    terminal::line(&format!(
        "{:.3} s wall, {:.3} s CPU, at most {:.1} MiB; compression alone {work_seconds:.3} s",
        ours.wall_seconds,
        ours.cpu_seconds,
        ours.peak_bytes as f64 / MEBIBYTE,
    ));
    print_goal("the sum of the floors", ours.wall_seconds / work_seconds, MATRIX_GOAL);
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn print_contest(contest: &Contest) {
    terminal::heading(&super::name(contest.format, contest.setting));
    terminal::line(&format!(
        "{:<10} {:>8} {:>8} {:>9} {:>9}   {:>5} {:>5} {:>5} {:>5}",
        "", "wall s", "CPU s", "peak MiB", "size MB", "wall", "CPU", "peak", "size"
    ));
    let Some((ours, peers)) = contest.entries.split_first() else { return };
    print_row("fleetctl", &ours.median, None, None);
    for peer in peers {
        print_row(peer.tool, &peer.median, Some(&ours.median), peer.note);
    }
    print_row("floor", &contest.floor, Some(&ours.median), Some("nothing but the bytes"));
    print_goals(contest, ours, peers);
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn print_row(tool: &str, median: &Median, ours: Option<&Median>, note: Option<&str>) {
    let ratios = ours.map_or_else(String::new, |ours| {
        format!(
            "   {:>5.2} {:>5.2} {:>5.2} {:>5.2}",
            ours.wall_seconds / median.wall_seconds,
            ours.cpu_seconds / median.cpu_seconds,
            ours.peak_bytes as f64 / median.peak_bytes as f64,
            ours.size_bytes as f64 / median.size_bytes as f64,
        )
    });
    let note = note.map_or_else(String::new, |note| format!("  ({note})"));
    terminal::line(&format!(
        "{tool:<10} {:>8.3} {:>8.3} {:>9.1} {:>9.2}{ratios}{note}",
        median.wall_seconds,
        median.cpu_seconds,
        median.peak_bytes as f64 / MEBIBYTE,
        megabytes(median.size_bytes),
    ));
}

fn print_goals(contest: &Contest, ours: &Entry, peers: &[Entry]) {
    let wall = ours.median.wall_seconds;
    let best = peers.iter().map(|peer| peer.median.wall_seconds).fold(f64::INFINITY, f64::min);
    print_goal("the best peer", wall / best, contest.setting.goal());
    print_goal("the floor", wall / contest.floor.wall_seconds, FLOOR_GOAL);
}

fn print_goal(whom: &str, ratio: f64, goal: f64) {
    let verdict = if ratio <= goal { "met" } else { "NOT met" };
    terminal::line(&format!("goal: wall at most {goal:.2} of {whom}: {ratio:.2}, {verdict}"));
}
