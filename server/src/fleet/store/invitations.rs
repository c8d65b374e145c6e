//! Invitations to an organization.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{InvitationId, api::Invitation};

use super::{CredentialKind, Hash, Keyset, OrgStore, StoreError, row::Columns as _};

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, role, invited_by, created_at, expires_at FROM invitations ",
            $rest
        )
    };
}

impl OrgStore {
    /// The invitation of an address, in lower case.
    pub(in crate::fleet) async fn invitation_of(
        &mut self,
        email: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        let row = self
            .query(select!("WHERE org_id = $1 AND email = $2"))
            .bind(email.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(invitation).transpose()
    }

    /// Keeps an invitation. An address has one at most.
    pub(in crate::fleet) async fn put_invitation(
        &mut self,
        invitation: &Invitation,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO invitations (org_id, id, email, role, invited_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(invitation.id.to_string())
        .bind(invitation.email.clone())
        .bind(invitation.role.to_string())
        .bind(invitation.invited_by.to_string())
        .bind(invitation.created_at.as_millisecond())
        .bind(invitation.expires_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Makes a token lead to an invitation, instead of the one before.
    pub(in crate::fleet) async fn put_invitation_token(
        &mut self,
        id: InvitationId,
        hash: &Hash,
    ) -> Result<(), StoreError> {
        self.remove_credentials(CredentialKind::Invitation, &id.to_string()).await?;
        self.add_credential(CredentialKind::Invitation, hash, &id.to_string()).await
    }

    pub(in crate::fleet) async fn invitations(
        &mut self,
        page: &Keyset,
    ) -> Result<Vec<Invitation>, StoreError> {
        let rows = self
            .query(select!("WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3"))
            .bind(page.after.clone())
            .bind(page.limit)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(invitation).collect()
    }

    pub(in crate::fleet) async fn invitation(
        &mut self,
        id: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        let row = self
            .query(select!("WHERE org_id = $1 AND id = $2"))
            .bind(id.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(invitation).transpose()
    }

    /// Takes an invitation away with its token. Of many at once, one gets `true`.
    pub(in crate::fleet) async fn remove_invitation(
        &mut self,
        id: InvitationId,
    ) -> Result<bool, StoreError> {
        let removed = self
            .query("DELETE FROM invitations WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        self.remove_credentials(CredentialKind::Invitation, &id.to_string()).await?;
        Ok(removed.rows_affected() == 1)
    }

    /// Deletes invitations that ran out, with their tokens.
    pub(in crate::fleet) async fn sweep_invitations(
        &mut self,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "DELETE FROM credentials WHERE org_id = $1 AND kind = 'invitation'
             AND subject_id IN (SELECT id FROM invitations WHERE org_id = $1 AND expires_at <= $2)",
        )
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        self.query("DELETE FROM invitations WHERE org_id = $1 AND expires_at <= $2")
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn invitation(row: &AnyRow) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        id: row.parsed("id")?,
        email: row.text("email")?,
        role: row.parsed("role")?,
        invited_by: row.parsed("invited_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}
