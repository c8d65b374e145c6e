//! What mail says. Each message is written when it is sent: whether there still is somebody to write
//! to is found out then, and its token made.

use jiff::{SignedDuration, Timestamp};
use lettre::{
    Address, Message,
    message::{Mailbox, header::ContentType},
};
use serde::Deserialize;
use wire::{InvitationId, OrgId};

use super::super::{
    Access, Fleet, StoreError, secrets,
    store::{Hash, MailRow, NewToken, TokenKind},
};

/// How long a mailed token to set another password works.
const RESET_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// How long a mailed token to show that an address is one's own works.
const VERIFY_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Below which path the pages are that mail leads to.
const PAGES: &str = "/auth/mailed";

macro_rules! mail_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Kinds of mail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::fleet) enum MailKind {
            $($(#[$doc])* $name,)*
        }

        impl MailKind {
            pub(in crate::fleet) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            fn of(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

mail_kinds! {
    /// A token, to whoever asked for an account, or a notice to whoever has one.
    Registration = "registration",
    /// A token to set another password, if there is such an account.
    ResetPassword = "reset_password",
    /// A token that makes this the address of an account.
    ChangeEmail = "change_email",
    Invitation = "invitation",
    /// Notices:
    PasswordChanged = "password_changed",
    EmailChanged = "email_changed",
    RefreshReused = "refresh_reused",
}

/// What the rows of the queue say besides who the mail is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    org_id: Option<OrgId>,
    invitation_id: Option<InvitationId>,
    user_id: Option<wire::UserId>,
    registration_id: Option<String>,
    address: String,
}

/// Subject and text.
type Text = (&'static str, String);

impl Fleet {
    /// The mail as it is sent; `None` when there is nobody to send it to any more.
    pub(super) async fn write_message(
        &self,
        mail: &MailRow,
    ) -> Result<Option<Message>, StoreError> {
        let data: Data = serde_json::from_str(&mail.data).unwrap_or_default();
        let to = mail.recipient.as_str();
        let text = match MailKind::of(&mail.kind) {
            Some(MailKind::Registration) => self.registration(to, data.registration_id).await?,
            Some(MailKind::ResetPassword) => self.reset(to).await?,
            Some(MailKind::ChangeEmail) => self.change_of_email(to, &data).await?,
            Some(MailKind::Invitation) => self.invitation_text(&data).await?,
            Some(MailKind::PasswordChanged) => Some((
                "Your password was changed",
                format!("The password of your account was changed, from {}.", data.address),
            )),
            Some(MailKind::EmailChanged) => Some((
                "Your address was changed",
                format!("Your account has another e-mail address now, set from {}.", data.address),
            )),
            Some(MailKind::RefreshReused) => Some((
                "A session of yours was ended",
                format!(
                    "A token of one of your sessions was used twice, the second time from {}: \
                     somebody may have copied it. The session was ended.",
                    data.address
                ),
            )),
            None => None,
        };
        Ok(text.and_then(|text| self.message(to, text)))
    }

    /// Asked for an account: the token if there is none yet, else a notice.
    async fn registration(&self, to: &str, id: Option<String>) -> Result<Option<Text>, StoreError> {
        let exists = self.0.store.account_of(to).await?.is_some();
        let mut tx = self.0.store.apart().await?;
        if exists {
            tx.forget_registrations(to).await?;
            tx.keep().await?;
            return Ok(Some((
                "You have an account already",
                "Somebody, perhaps you, asked for an account with this address. You have one: sign \
                 in, or ask for another password if you forgot it. Nothing was changed."
                    .to_owned(),
            )));
        }
        // The registration that the mail is about, not another that somebody else had for this address.
        let id = match id {
            Some(id) => Some(id),
            None => tx.only_registration(to).await?,
        };
        let Some(id) = id else { return Ok(None) };
        let token = secrets::new_token();
        let until = self.now() + VERIFY_LIFETIME;
        if !tx.put_registration_token(&id, &Hash::of(&token), until).await? {
            return Ok(None);
        }
        tx.keep().await?;
        Ok(Some(("Confirm your address", self.told("verify-email", &token, until))))
    }

    async fn reset(&self, to: &str) -> Result<Option<Text>, StoreError> {
        let Some(account) = self.0.store.account_of(to).await? else { return Ok(None) };
        let token = secrets::new_token();
        let until = self.now() + RESET_LIFETIME;
        let mut tx = self.0.store.apart().await?;
        tx.put_token(&NewToken {
            kind: TokenKind::ResetPassword,
            hash: &Hash::of(&token),
            user_id: account.user_id,
            email: to,
            expires_at: until,
        })
        .await?;
        tx.keep().await?;
        Ok(Some(("Set another password", self.told("reset-password", &token, until))))
    }

    async fn change_of_email(&self, to: &str, data: &Data) -> Result<Option<Text>, StoreError> {
        let Some(user_id) = data.user_id else { return Ok(None) };
        if self.0.store.account(user_id).await?.is_none() {
            return Ok(None);
        }
        let token = secrets::new_token();
        let until = self.now() + VERIFY_LIFETIME;
        let hash = &Hash::of(&token);
        let mut tx = self.0.store.apart().await?;
        let kind = TokenKind::ChangeEmail;
        tx.put_token(&NewToken { kind, hash, user_id, email: to, expires_at: until }).await?;
        tx.keep().await?;
        Ok(Some(("Confirm your address", self.told("verify-email", &token, until))))
    }

    async fn invitation_text(&self, data: &Data) -> Result<Option<Text>, StoreError> {
        let (Some(org_id), Some(id)) = (data.org_id, data.invitation_id) else { return Ok(None) };
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        let Some(invitation) = org.invitation(&id.to_string()).await? else { return Ok(None) };
        let organization = org.organization_name().await?;
        let token = secrets::new_token();
        org.put_invitation_token(id, &Hash::of(&token)).await?;
        org.commit().await?;
        let text = self.told("accept-invitation", &token, invitation.expires_at);
        Ok(Some(("You are invited", format!("You are invited to join {organization}.\n\n{text}"))))
    }

    /// What to do with a token: open the page named `deed`, where the server knows its own address, or
    /// run the command of that name, which takes it from standard input.
    fn told(&self, deed: &str, token: &str, until: Timestamp) -> String {
        let url = self.0.config.server.url.as_ref().map(|url| url.as_str().trim_end_matches('/'));
        let open = url.map_or_else(String::new, |url| {
            format!(
                "Open\n\n    {url}{PAGES}/{deed}?token={token}\n\nonce, before {until}. Or run\n\n"
            )
        });
        let run = if url.is_some() { "" } else { "Run\n\n" };
        let url = url.unwrap_or("<the server's address>");
        format!(
            "{open}{run}    fleetctl account {deed} --url {url}\n\n\
             and give this when asked, once, before {until}:\n\n    {token}"
        )
    }

    fn message(&self, to: &str, (subject, text): Text) -> Option<Message> {
        let from: Mailbox = self.0.config.mail.as_ref()?.from.parse().ok()?;
        let to = Mailbox::new(None, to.parse::<Address>().ok()?);
        let text = format!("{text}\n\nWhoever did not expect this mail need not do anything.\n");
        Message::builder()
            .from(from)
            .to(to)
            .subject(subject)
            .date(std::time::SystemTime::from(self.now()))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .ok()
    }
}
