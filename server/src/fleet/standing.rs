//! What the database says of the bearer of an access token: whether their session goes on, and what
//! they may do. A token alone is up to a quarter of an hour old.
//!
//! Known for a second, and not at all once this server has written what rights may depend on. So
//! what is revoked or changed counts with the next request here, and within a second on every other
//! server with the same database. When the database is away for longer, nobody is let in.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Access, Fleet, StoreError,
    actor::{Rights, SessionProof},
    networks::Networks,
    session_life::Life,
    sessions::life_of,
    tokens::Bearer,
};

/// How long what was read is relied upon.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

/// How many tokens are remembered at most.
const MAX_KNOWN: usize = 20_000;

/// An action is written down when the last one that was is older than this part of the time after
/// which a session counts as idle; the times of a session are exact to as much.
const NOTED_PARTS: i32 = 60;

/// Whose token it is, as the database has it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub rights: Rights,
    pub proof: SessionProof,
    /// Where the organization lets its people ask from.
    pub networks: Networks,
}

/// Standings by `jti`.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<BTreeMap<String, Known>>);

#[derive(Debug)]
struct Known {
    bearer: Bearer,
    standing: Standing,
    read_at: Timestamp,
    /// [`Store::changes`](super::store::Store::changes) before it was read.
    changes: u64,
}

impl Known {
    fn is_good(&self, changes: u64, now: Timestamp) -> bool {
        let age = now.duration_since(self.read_at);
        self.changes == changes && (SignedDuration::ZERO..KNOWN_FOR).contains(&age)
    }
}

impl Standings {
    fn find(&self, bearer: &Bearer, changes: u64, now: Timestamp) -> Option<Standing> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&bearer.jti)?;
        // The whole token, not its name alone: only its signer says that names are used once.
        let good = known.is_good(changes, now) && known.bearer == *bearer;
        good.then(|| known.standing.clone())
    }

    fn keep(&self, bearer: &Bearer, standing: &Standing, (changes, now): (u64, Timestamp)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, known| known.is_good(changes, now));
        }
        if known.len() < MAX_KNOWN {
            let standing = standing.clone();
            let known_as = bearer.clone();
            let read = Known { bearer: known_as, standing, read_at: now, changes };
            known.insert(bearer.jti.clone(), read);
        }
    }

    fn note_action(&self, jti: &str, now: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(jti) {
            known.standing.proof.life.last_action = now;
            known.standing.proof.life.acted = true;
        }
    }
}

impl Fleet {
    /// How the bearer of a token stands; nothing if the token, its session or its person is not
    /// accepted any more.
    pub(super) async fn standing(
        &self,
        bearer: &Bearer,
        now: Timestamp,
    ) -> Result<Option<Standing>, StoreError> {
        let changes = self.0.store.changes();
        if let Some(standing) = self.0.standings.find(bearer, changes, now) {
            return Ok(Some(standing));
        }
        let standing = self.read_standing(bearer).await?;
        if let Some(standing) = &standing {
            self.0.standings.keep(bearer, standing, (changes, now));
        }
        Ok(standing)
    }

    async fn read_standing(&self, bearer: &Bearer) -> Result<Option<Standing>, StoreError> {
        let mut org = self.0.store.org(bearer.org_id, Access::Read).await?;
        let session = org.session(&bearer.session_id).await?;
        let session = session.filter(|session| session.user_id == bearer.user_id);
        let user = org.user(bearer.user_id).await?;
        let user = user.filter(|user| user.disabled_at.is_none());
        let revoked = org.is_revoked(&bearer.jti).await?;
        let (Some(session), Some(user), false) = (session, user, revoked) else { return Ok(None) };
        let rights = Rights::of(&mut org, user.id, &user.role).await?;
        let networks = org.allowed_networks().await?;
        org.commit().await?;
        Ok(Some(Standing {
            rights,
            networks,
            proof: SessionProof {
                life: life_of(&session),
                id: session.id,
                authenticated_at: session.authenticated_at,
                authenticated_from: session.address,
            },
        }))
    }

    /// Writes down that the person behind a session did something, if that is not written already.
    pub(super) async fn note_action(
        &self,
        bearer: &Bearer,
        life: Life,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let timers = self.0.config.auth.session.timers();
        let recent = now.duration_since(life.last_action) < timers.idle / NOTED_PARTS;
        if life.acted && recent {
            return Ok(());
        }
        let mut org = self.0.store.org(bearer.org_id, Access::Note).await?;
        // Not one that has run out meanwhile: that one stays so.
        org.note_action(&bearer.session_id, now - timers.timeout, now).await?;
        org.commit().await?;
        self.0.standings.note_action(&bearer.jti, now);
        Ok(())
    }
}
