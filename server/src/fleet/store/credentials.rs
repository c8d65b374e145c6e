//! From a presented secret to the organization that it belongs to. Rows hold SHA-256 alone.

use std::fmt;

use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use wire::OrgId;

use super::{Access, OrgStore, Store, StoreError, Tx, row::Columns as _};

/// SHA-256 of a secret with at least 128 bits of entropy, for which a plain hash is enough
/// (OWASP ASVS 5.0, 6.5.2).
#[derive(Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Hash(String);

impl Hash {
    pub(in crate::fleet) fn of(secret: &str) -> Self {
        Self(hex::encode(Sha256::digest(secret.as_bytes())))
    }

    pub(in crate::fleet) fn as_text(&self) -> String {
        self.0.clone()
    }

    /// Whether `stored` is this hash. Both are digests, so the time it takes tells nothing.
    pub(in crate::fleet) fn is(&self, stored: &str) -> bool {
        self.0 == stored
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum CredentialKind {
    ApiKey,
    DesktopToken,
    EnrollSecret,
    Invitation,
    NodeKey,
    OsqueryNodeKey,
    RefreshToken,
}

impl CredentialKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::DesktopToken => "desktop_token",
            Self::EnrollSecret => "enroll_secret",
            Self::Invitation => "invitation",
            Self::NodeKey => "node_key",
            Self::OsqueryNodeKey => "osquery_node_key",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// Whose secret was presented. Whether it is still good, the subject's own row tells.
#[derive(Debug)]
pub(in crate::fleet) struct Credential {
    pub org_id: OrgId,
    pub subject_id: String,
}

impl Store {
    /// Whose secret hashes to `hash`, if it is one of that kind.
    pub(in crate::fleet) async fn credential(
        &self,
        kind: CredentialKind,
        hash: &Hash,
    ) -> Result<Option<Credential>, StoreError> {
        let mut tx = self.begin_with(Access::Read, ("app.credential", &hash.0)).await?;
        let found = find(&mut tx, kind, hash).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// The same, and goes on in the same transaction with the organization that it leads to.
    pub(in crate::fleet) async fn follow_credential(
        &self,
        kind: CredentialKind,
        hash: &Hash,
        access: Access,
    ) -> Result<Option<(Credential, OrgStore)>, StoreError> {
        let mut tx = self.begin_with(access, ("app.credential", &hash.0)).await?;
        let Some(found) = find(&mut tx, kind, hash).await? else { return Ok(None) };
        let org = tx.within(found.org_id).await?;
        Ok(Some((found, org)))
    }
}

async fn find(
    tx: &mut Tx,
    kind: CredentialKind,
    hash: &Hash,
) -> Result<Option<Credential>, StoreError> {
    let row =
        sqlx::query("SELECT org_id, subject_id FROM credentials WHERE hash = $1 AND kind = $2")
            .bind(hash.as_text())
            .bind(kind.as_str())
            .fetch_optional(&mut *tx.inner)
            .await?;
    row.map(|row| {
        Ok(Credential { org_id: row.parsed("org_id")?, subject_id: row.try_get("subject_id")? })
    })
    .transpose()
}

impl OrgStore {
    /// Makes `hash` lead to `subject_id`. A hash that exists already is a duplicate.
    pub(super) async fn add_credential(
        &mut self,
        kind: CredentialKind,
        hash: &Hash,
        subject_id: &str,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO credentials (org_id, hash, kind, subject_id) VALUES ($1, $2, $3, $4)",
        )
        .bind(hash.as_text())
        .bind(kind.as_str())
        .bind(subject_id.to_owned())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Forgets every credential of that kind that leads to `subject_id`.
    pub(super) async fn remove_credentials(
        &mut self,
        kind: CredentialKind,
        subject_id: &str,
    ) -> Result<(), StoreError> {
        self.query("DELETE FROM credentials WHERE org_id = $1 AND subject_id = $2 AND kind = $3")
            .bind(subject_id.to_owned())
            .bind(kind.as_str())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
