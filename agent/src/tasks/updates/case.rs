//! One component in one look: what is offered, what is made of it, and how it stands then.

use jiff::Timestamp;
use update::repository::{Offer, OfferError};
use wire::orbit::{ComponentUpdate, Tally, UpdateState};

use super::{Installed, Question, UpdateError};
use crate::{
    complaints::explain,
    updater::{
        Finding,
        judge::{Subject, Verdict, Wait, judge},
        ledger::Fault,
    },
};

#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) installed: &'a Installed,
    pub(super) offer: Result<Option<Offer>, OfferError>,
    verdict: Option<Verdict>,
    pub(super) standing: ComponentUpdate,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        installed: &'a Installed,
        offer: Result<Option<Offer>, OfferError>,
        about: (&Question, Option<Tally>),
        now: Timestamp,
    ) -> Self {
        let mut case = Self { installed, offer, verdict: None, standing: unjudged(installed) };
        case.judge(about, now);
        case
    }

    pub(super) fn judge(&mut self, (question, tally): (&Question, Option<Tally>), now: Timestamp) {
        let installed = self.installed;
        let subject = Subject {
            device: &question.device,
            installed: installed.version.as_deref(),
            agent: &question.agent,
            entry: &installed.entry,
            tally,
            interval: question.interval,
        };
        let offer = self.offer.as_ref().ok().and_then(Option::as_ref);
        self.verdict = offer.map(|offer| judge(offer, &subject, now));
        self.stand();
    }

    pub(super) fn may_begin(&self) -> bool {
        self.verdict == Some(Verdict::Begin)
    }

    pub(super) fn failed(&self, error: &UpdateError) -> Finding {
        let offer = self.offer.as_ref().ok().and_then(Option::as_ref);
        let target = offer.map(|offer| offer.file.sha256.clone()).unwrap_or_default();
        Finding::Failed { target, message: explain(error) }
    }

    /// How it stands, before anything is done.
    fn stand(&mut self) {
        let standing = &mut self.standing;
        match (&self.offer, &self.verdict) {
            (Ok(Some(offer)), Some(verdict)) => {
                standing.offered_version = Some(offer.release.version.clone());
                standing.state = state(verdict);
                standing.detail = match verdict {
                    Verdict::Wait(wait) => Some(wait.text()),
                    Verdict::UpToDate | Verdict::Begin => None,
                };
                standing.due_at = match verdict {
                    Verdict::Wait(Wait::Wave { due_at }) => *due_at,
                    Verdict::Wait(_) | Verdict::UpToDate | Verdict::Begin => None,
                };
            }
            (Ok(_), _) => {
                standing.state = UpdateState::Unreachable;
                standing.detail = Some("the channel has nothing for this platform".to_owned());
            }
            (Err(error), _) => {
                standing.state = UpdateState::Unreachable;
                standing.detail = Some(explain(error));
            }
        }
    }

    /// How it stands after what was done about it.
    pub(super) fn found(&mut self, finding: Option<&Finding>) {
        let standing = &mut self.standing;
        match finding {
            Some(Finding::Staged(_)) => standing.state = UpdateState::Trying,
            Some(Finding::Failed { message, .. }) => {
                standing.state = UpdateState::Failing;
                standing.failures = standing.failures.saturating_add(1);
                standing.detail = Some(message.clone());
            }
            Some(Finding::Unusable { version, .. }) => {
                standing.state = UpdateState::RolledBack;
                standing.blocked_version = Some(version.version.clone());
                standing.blocked_sha256 = Some(version.target.clone());
                standing.detail = Some(Wait::Blocked(Fault::Unusable).text());
            }
            Some(Finding::Offered { .. }) | None => {}
        }
    }

    /// What is worth a line in the log: one word for its kind, and a sentence.
    pub(super) fn trouble(&self, finding: Option<&Finding>) -> Option<(&'static str, String)> {
        match (&self.offer, finding) {
            (Err(error), _) => Some(("offer", explain(error))),
            (Ok(_), Some(Finding::Failed { message, .. })) => Some(("fetch", message.clone())),
            (Ok(_), Some(Finding::Unusable { version, message })) => {
                let what = (self.installed.component, &version.version);
                Some(("unusable", format!("{} {} does not run here: {message}", what.0, what.1)))
            }
            (Ok(_), Some(Finding::Offered { .. } | Finding::Staged(_)) | None) => None,
        }
    }
}

/// What is known of a component without asking anybody.
pub(super) fn unjudged(installed: &Installed) -> ComponentUpdate {
    let Installed { component, channel, version, entry, .. } = installed;
    ComponentUpdate {
        component: component.to_string(),
        channel: channel.to_string(),
        version: version.clone(),
        state: UpdateState::Current,
        offered_version: None,
        due_at: None,
        blocked_version: entry.blocked.as_ref().map(|blocked| blocked.version.clone()),
        blocked_sha256: entry.blocked.as_ref().map(|blocked| blocked.target.clone()),
        failures: entry.failure.as_ref().map_or(0, |failure| failure.times),
        detail: None,
    }
}

const fn state(verdict: &Verdict) -> UpdateState {
    match verdict {
        Verdict::UpToDate => UpdateState::Current,
        Verdict::Begin => UpdateState::Waiting,
        Verdict::Wait(Wait::OnTrial) => UpdateState::Trying,
        Verdict::Wait(Wait::Blocked(_)) => UpdateState::RolledBack,
        Verdict::Wait(Wait::BackingOff { .. }) => UpdateState::Failing,
        Verdict::Wait(
            Wait::Older
            | Wait::NoVersion
            | Wait::NeedsAgent { .. }
            | Wait::Paused
            | Wait::Wave { .. }
            | Wait::Failing(_),
        ) => UpdateState::Waiting,
    }
}
