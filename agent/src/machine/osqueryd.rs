//! When osqueryd is started, stopped and started again. It is one process at most: a next one is
//! started only after the one before is known to be gone.

use std::time::Instant;

use super::{
    Action, Flags, Pace,
    pace::{Backoff, Dice, LOOP},
};

/// How often a new osqueryd may end by itself before it has proven itself.
const TRIES: u32 = 3;

/// What is wanted of osqueryd, and what is known of it.
#[derive(Debug)]
pub(super) struct Supervision {
    /// The flags to run with; none: not to run.
    wanted: Option<Flags>,
    process: Process,
    backoff: Backoff,
    /// How often a new version was started that has to prove itself.
    trial: Option<u32>,
    health: Health,
}

/// What is known of how it fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// It has ended by itself so often in a row.
    Unknown(u32),
    Well,
    Looping,
}

#[derive(Debug)]
enum Process {
    /// It is not installed.
    Absent,
    Idle,
    Up {
        flags: Flags,
        since: Instant,
    },
    /// It was asked to end, and is killed at this time.
    Ending(Instant),
    Killed,
    /// It crashed; the next is started at this time.
    Resting(Instant),
}

impl Supervision {
    pub(super) fn new(installed: bool, trial: Option<u32>) -> Self {
        let process = if installed { Process::Idle } else { Process::Absent };
        let health = Health::Unknown(0);
        Self { wanted: None, process, backoff: Backoff::default(), trial, health }
    }

    pub(super) fn want(&mut self, flags: Option<Flags>) {
        self.wanted = flags;
    }

    /// Another version is to run from here on, and has to prove itself.
    pub(super) fn replace(&mut self, pace: &Pace, now: Instant, out: &mut Vec<Action>) {
        self.trial = Some(0);
        self.forgive();
        self.renew(pace, now, out);
    }

    /// What runs is stopped, and the next one started without delay.
    pub(super) fn renew(&mut self, pace: &Pace, now: Instant, out: &mut Vec<Action>) {
        match self.process {
            Process::Up { .. } => self.stop(pace, now, out),
            Process::Resting(_) => self.process = Process::Idle,
            Process::Absent | Process::Idle | Process::Ending(_) | Process::Killed => {}
        }
    }

    /// Brings the process nearer to what is wanted.
    pub(super) fn settle(&mut self, pace: &Pace, now: Instant, out: &mut Vec<Action>) {
        self.prove(pace, now, out);
        match (&self.process, &self.wanted) {
            (Process::Idle, Some(flags)) => self.start(flags.clone(), now, out),
            (Process::Resting(until), Some(flags)) if *until <= now => {
                self.start(flags.clone(), now, out);
            }
            (Process::Resting(_), None) => self.process = Process::Idle,
            (Process::Up { flags, .. }, wanted) if wanted.as_ref() != Some(flags) => {
                self.stop(pace, now, out);
            }
            (Process::Ending(until), _) if *until <= now => {
                out.push(Action::KillOsqueryd);
                self.process = Process::Killed;
            }
            (
                Process::Absent
                | Process::Idle
                | Process::Up { .. }
                | Process::Ending(_)
                | Process::Killed
                | Process::Resting(_),
                _,
            ) => {}
        }
    }

    fn start(&mut self, flags: Flags, now: Instant, out: &mut Vec<Action>) {
        self.trial = self.trial.map(|starts| starts + 1);
        out.push(Action::StartOsqueryd(flags.clone()));
        self.process = Process::Up { flags, since: now };
    }

    fn stop(&mut self, pace: &Pace, now: Instant, out: &mut Vec<Action>) {
        out.push(Action::StopOsqueryd);
        self.process = Process::Ending(now + pace.osqueryd_grace);
    }

    /// What ran for long enough runs well, and a new version has proven itself.
    fn prove(&mut self, pace: &Pace, now: Instant, out: &mut Vec<Action>) {
        if self.settled_at(pace).is_none_or(|at| at > now) {
            return;
        }
        if self.trial.take().is_some() {
            out.push(Action::ProveOsqueryd);
        }
        if self.health != Health::Well {
            self.health = Health::Well;
            out.push(Action::ReportOsquerydWell);
        }
    }

    /// Notes that it has ended by itself.
    fn crashed(&mut self, out: &mut Vec<Action>) {
        self.health = match self.health {
            Health::Well => Health::Unknown(0),
            Health::Unknown(crashes) if crashes + 1 < LOOP => Health::Unknown(crashes + 1),
            Health::Unknown(_) => {
                out.push(Action::ReportOsquerydLoop);
                Health::Looping
            }
            Health::Looping => Health::Looping,
        };
    }

    /// What another version did says nothing about this one.
    fn forgive(&mut self) {
        self.backoff.reset();
        if let Health::Unknown(crashes) = &mut self.health {
            *crashes = 0;
        }
    }

    fn settled_at(&self, pace: &Pace) -> Option<Instant> {
        match self.process {
            Process::Up { since, .. } => Some(since + pace.osqueryd_settled),
            Process::Absent
            | Process::Idle
            | Process::Ending(_)
            | Process::Killed
            | Process::Resting(_) => None,
        }
    }

    /// Notes that the process has ended: on request, or by itself.
    pub(super) fn exited(
        &mut self,
        pace: &Pace,
        dice: &mut Dice,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        match self.process {
            Process::Up { since, .. } => {
                self.prove(pace, now, out);
                if now.duration_since(since) >= pace.osqueryd_settled {
                    self.backoff.reset();
                }
                self.crashed(out);
                if self.trial.is_some_and(|starts| starts >= TRIES) {
                    self.trial = None;
                    self.forgive();
                    out.push(Action::RevertOsqueryd);
                }
                let delay = dice.jittered(self.backoff.fail(pace.osqueryd));
                self.process = Process::Resting(now + delay);
            }
            Process::Ending(_) | Process::Killed => self.process = Process::Idle,
            Process::Absent | Process::Idle | Process::Resting(_) => {}
        }
    }

    /// Whether no process is there to wait for.
    pub(super) fn is_gone(&self) -> bool {
        match self.process {
            Process::Absent | Process::Idle | Process::Resting(_) => true,
            Process::Up { .. } | Process::Ending(_) | Process::Killed => false,
        }
    }

    pub(super) fn deadline(&self, pace: &Pace) -> Option<Instant> {
        match self.process {
            Process::Ending(at) | Process::Resting(at) => Some(at),
            Process::Up { .. } if self.trial.is_some() || self.health != Health::Well => {
                self.settled_at(pace)
            }
            Process::Absent | Process::Idle | Process::Up { .. } | Process::Killed => None,
        }
    }
}
