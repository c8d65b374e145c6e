//! What the database says of the bearer of an access token: whether their session goes on, and what
//! they may do. A token alone is up to a quarter of an hour old.

use jiff::Timestamp;

use super::{
    Access, Fleet, StoreError,
    actor::{Rights, SessionProof},
    networks::Networks,
    remembered::Remembered,
    session_life::Life,
    sessions::life_of,
    tokens::Bearer,
};

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

/// Standings by `jti`, with the whole token: only its signer says that names are used once.
pub(super) type Standings = Remembered<(Bearer, Standing)>;

impl Fleet {
    /// How the bearer of a token stands; nothing if the token, its session or its person is not
    /// accepted any more.
    pub(super) async fn standing(
        &self,
        bearer: &Bearer,
        now: Timestamp,
    ) -> Result<Option<Standing>, StoreError> {
        let changes = self.0.store.changes();
        let known = self.0.standings.find(&bearer.jti, changes, now);
        if let Some(known) = known.filter(|known| known.answer.0 == *bearer) {
            if known.is_aging {
                let (fleet, bearer) = (self.clone(), bearer.clone());
                // What could not be read is read by whoever comes when it is too old.
                tokio::spawn(async move { fleet.learn_standing(&bearer).await.is_ok() });
            }
            return Ok(Some(known.answer.1));
        }
        self.learn_standing(bearer).await
    }

    async fn learn_standing(&self, bearer: &Bearer) -> Result<Option<Standing>, StoreError> {
        let (changes, now) = (self.0.store.changes(), self.now());
        let standing = self.read_standing(bearer).await?;
        if let Some(standing) = &standing {
            let known = (bearer.clone(), standing.clone());
            self.0.standings.keep(&bearer.jti, &known, (changes, now));
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
                methods: session.methods,
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
        self.0.standings.change(&bearer.jti, |(_, standing)| {
            standing.proof.life.last_action = now;
            standing.proof.life.acted = true;
        });
        Ok(())
    }
}
