//! Whether a device begins with what its channel offers: pure, from what was signed, what the ledger
//! remembers, and what the server counts.

use jiff::{SignedDuration, Timestamp};
use update::repository::Offer;
use wire::orbit::Tally;

use super::{
    ledger::{Entry, Fault},
    version,
};

/// How many attempts a failure rate is at least taken of: one failure among three is no rate.
const SMALLEST_SAMPLE: u64 = 20;

/// The device, as far as it matters for one component.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What does not change about the device: its seed is made of it.
    pub device: &'a str,
    /// The version that runs; none: nobody knows.
    pub installed: Option<&'a str>,
    /// The version of the agent.
    pub agent: &'a str,
    pub entry: &'a Entry,
    /// What the server has counted of this release; none: it was not asked, or does not count.
    pub tally: Option<Tally>,
    /// Between two looks.
    pub interval: SignedDuration,
}

/// What to do with an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs already.
    UpToDate,
    Begin,
    Wait(Wait),
}

/// Why a device does not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// It is here, and has yet to prove itself.
    OnTrial,
    /// It has failed here.
    Blocked(Fault),
    /// It could not be had or used.
    BackingOff { until: Timestamp },
    /// What runs is newer.
    Older,
    /// It calls itself something that is no version.
    NoVersion,
    /// The agent is too old for it.
    NeedsAgent { version: String },
    /// Somebody has paused it.
    Paused,
    /// The device's wave has not started; none: nobody knows when it will.
    Wave { due_at: Option<Timestamp> },
    /// It fails on too many devices.
    Failing(Tally),
}

/// Decides.
#[must_use]
pub fn judge(offer: &Offer, subject: &Subject<'_>, now: Timestamp) -> Verdict {
    let Offer { release, file, .. } = offer;
    if subject.installed == Some(release.version.as_str()) {
        return Verdict::UpToDate;
    }
    if let Some(wait) = remembered(&file.sha256, subject, now) {
        return Verdict::Wait(wait);
    }
    if version::parse(&release.version).is_none() {
        return Verdict::Wait(Wait::NoVersion);
    }
    if !release.allow_downgrade && is_older(&release.version, subject.installed) {
        return Verdict::Wait(Wait::Older);
    }
    if let Some(version) = &release.min_agent
        && is_older(subject.agent, Some(version))
    {
        return Verdict::Wait(Wait::NeedsAgent { version: version.clone() });
    }
    if release.paused {
        return Verdict::Wait(Wait::Paused);
    }
    let seed = release.seed(subject.device);
    if !release.is_due(seed, now) {
        return Verdict::Wait(Wait::Wave { due_at: release.due_at(seed) });
    }
    match subject.tally.filter(|tally| fails_too_often(release.max_failure_percent, *tally)) {
        Some(tally) => Verdict::Wait(Wait::Failing(tally)),
        None => Verdict::Begin,
    }
}

/// What the ledger says against it.
fn remembered(target: &str, subject: &Subject<'_>, now: Timestamp) -> Option<Wait> {
    let entry = subject.entry;
    if entry.trial.as_ref().is_some_and(|trial| trial.version.target == target)
        || entry.suspect.as_ref().is_some_and(|suspect| suspect.target == target)
    {
        return Some(Wait::OnTrial);
    }
    if let Some(blocked) = entry.blocked.as_ref().filter(|blocked| blocked.target == target) {
        return Some(Wait::Blocked(blocked.fault));
    }
    let failure = entry.failure.as_ref().filter(|failure| failure.target == target)?;
    failure.until(subject.interval, now).map(|until| Wait::BackingOff { until })
}

/// Whether more than `percent` of the attempts have failed.
fn fails_too_often(percent: Option<u8>, tally: Tally) -> bool {
    let attempts = tally.attempts.max(SMALLEST_SAMPLE);
    // The server may tell any numbers.
    let (failures, attempts) = (u128::from(tally.failures), u128::from(attempts));
    percent.is_some_and(|percent| failures * 100 > attempts * u128::from(percent))
}

/// Whether `version` comes before `than`. Of what is no version nobody knows.
fn is_older(version: &str, than: Option<&str>) -> bool {
    let pair = than.and_then(version::parse).zip(version::parse(version));
    pair.is_some_and(|(than, version)| version < than)
}

impl Wait {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::OnTrial => "it has yet to prove itself".to_owned(),
            Self::Blocked(fault) => format!("it is not tried again: {}", fault.text()),
            Self::BackingOff { until } => format!("it is tried again at {until:.0}"),
            Self::NoVersion => "what it is called is no version".to_owned(),
            Self::Older => "it is older than what runs".to_owned(),
            Self::NeedsAgent { version } => format!("it needs orbit {version}"),
            Self::Paused => "it is paused".to_owned(),
            Self::Wave { due_at: Some(at) } => format!("its wave starts at {at:.0}"),
            Self::Wave { due_at: None } => "no wave is for this device".to_owned(),
            Self::Failing(Tally { attempts, failures }) => {
                format!("it has failed on {failures} of {attempts} devices")
            }
        }
    }
}
