//! What was measured, for people.

use super::{Deed, Logins, Measured, Results};
use crate::terminal;

/// Our sign-ins by what hashing alone allows are to be at least this.
const LOGIN_GOAL: f64 = 0.95;
/// The slowest token checks in a flood of sign-ins, by those at rest, are to be at most this.
const CALM_GOAL: f64 = 1.5;
/// How many times less of the processor better-auth's way is to take ours.
const ISSUE_GOAL: f64 = 10.0;
const KEY_GOAL: f64 = 20.0;
/// Our memory by theirs is to be at most this.
const MEMORY_GOAL: f64 = 1.0 / 3.0;

const MEBIBYTE: f64 = 1_048_576.0;

const DEEDS: [(Deed, &str); 7] = [
    (Deed::TokenCheck, "token check"),
    (Deed::KeyCheck, "API key check"),
    (Deed::RareKeyCheck, "API key check, uncached"),
    (Deed::TokenIssue, "token issue (refresh)"),
    (Deed::Poll, "agent's poll, unsigned"),
    (Deed::PollEd25519, "agent's poll, signed by Ed25519"),
    (Deed::PollP256, "agent's poll, signed by P-256"),
];

pub(super) fn print(results: &Results) {
    let names: String = results.servers.iter().map(|it| format!("{:>15}", it.name)).collect();
    terminal::heading(&format!("{:<40}{names}", ""));
    for (deed, name) in DEEDS {
        row(&format!("{name}, CPU ms"), results, |it| cpu(it, deed).map(|seconds| seconds * 1e3));
    }
    row("memory idle, MiB", results, |it| Some(mebibytes(it.idle_bytes)));
    let sessions = format!("memory with {} sessions, MiB", results.sessions);
    row(&sessions, results, |it| Some(mebibytes(it.sessions_bytes)));
    let of = |it: &Measured, what: fn(&Logins) -> f64| it.logins.as_ref().map(what);
    row("sign-ins a second, bcrypt 12", results, |it| of(it, |it| it.logins_per_second));
    row("hashes a second, nothing else", results, |it| of(it, |it| it.hashes_per_second));
    row("sign-in, CPU ms", results, |it| of(it, |it| it.cpu_seconds_per_login * 1e3));
    row("hash, CPU ms", results, |it| of(it, |it| it.cpu_seconds_per_hash * 1e3));
    row("token check p99 at rest, ms", results, |it| of(it, |it| it.check_p99_ms_at_rest));
    row("token check p99 in a flood, ms", results, |it| of(it, |it| it.check_p99_ms_in_flood));
    goals(&results.servers);
}

fn row(name: &str, results: &Results, of: impl Fn(&Measured) -> Option<f64>) {
    let cell = |value: Option<f64>| {
        value.map_or_else(|| format!("{:>15}", "-"), |it| format!("{it:>15.3}"))
    };
    let cells: String = results.servers.iter().map(|it| cell(of(it))).collect();
    terminal::line(&format!("{name:<40}{cells}"));
}

fn goals(servers: &[Measured]) {
    let [ours, better, oidc] = servers else { return };
    terminal::heading("goals");
    if let Some(logins) = &ours.logins {
        let share = logins.logins_per_second / logins.hashes_per_second;
        at_least("sign-ins by what hashing allows", share, LOGIN_GOAL);
        let calm = logins.check_p99_ms_in_flood / logins.check_p99_ms_at_rest;
        at_most("token checks in a flood by those at rest", calm, CALM_GOAL);
    }
    let times = |peer, deed| Some(cpu(peer, deed)? / cpu(ours, deed)?);
    for (what, value, goal) in [
        ("better-auth's token issue by ours", times(better, Deed::TokenIssue), ISSUE_GOAL),
        ("oidc-provider's refresh by ours", times(oidc, Deed::TokenIssue), ISSUE_GOAL),
        ("better-auth's key check by ours", times(better, Deed::KeyCheck), KEY_GOAL),
    ] {
        at_least(what, value.unwrap_or_default(), goal);
    }
    for peer in [better, oidc] {
        let idle = mebibytes(ours.idle_bytes) / mebibytes(peer.idle_bytes);
        at_most(&format!("memory idle by {}'s", peer.name), idle, MEMORY_GOAL);
        let crowded = mebibytes(ours.sessions_bytes) / mebibytes(peer.sessions_bytes);
        at_most(&format!("memory with sessions by {}'s", peer.name), crowded, MEMORY_GOAL);
    }
}

fn at_least(what: &str, value: f64, goal: f64) {
    tell(what, value, value >= goal, &format!("at least {goal:.2}"));
}

fn at_most(what: &str, value: f64, goal: f64) {
    tell(what, value, value <= goal, &format!("at most {goal:.2}"));
}

fn tell(what: &str, value: f64, met: bool, goal: &str) {
    let verdict = if met { "met" } else { "missed" };
    terminal::line(&format!("{what:<44}{value:>8.2}  {goal}: {verdict}"));
}

fn cpu(server: &Measured, deed: Deed) -> Option<f64> {
    server.cpu_seconds.iter().find(|(it, _)| *it == deed).map(|(_, seconds)| *seconds)
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}
