//! Why people's requests are refused. Each error says what, [`http`](crate::http) alone says how.

use wire::{
    Permission,
    api::{FieldError, Hidden},
};

use super::{
    StoreError,
    actor::Forbidden,
    keys::{KeyError, KeyFailure},
    limits::{LimitError, Quota},
};

/// Why something of an organization could not be shown, made, changed or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// It does not exist, or belongs to another organization: which, is not told.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    #[error("{}", first_detail(.0))]
    Invalid(Vec<FieldError>),
    #[error("there is such {0} already")]
    Duplicate(&'static str),
    #[error("the team has devices; move or delete them first")]
    TeamInUse,
    #[error("an organization keeps at least one owner")]
    LastOwner,
    #[error("a device that is {before} does not become {after}")]
    DeviceState { before: &'static str, after: &'static str },
    #[error("somebody has the role, or is invited to it; give them another first")]
    RoleInUse,
    #[error("every organization has this role, as it is")]
    BuiltInRole,
    #[error(
        "the role grants `{0}`, which this version of the server does not know; change what it grants \
         on the newer version that gave it that"
    )]
    UnknownPermissions(String),
    #[error("the API key is revoked")]
    KeyRevoked,
    #[error("the API key was rotated by somebody else just now")]
    KeyRotated,
    #[error("`{0}` is not yours to pass on")]
    ScopeTooWide(Permission),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why somebody could not sign in, refresh, or set up the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// Unknown address, wrong password, disabled person: the same for all.
    #[error("the e-mail address or the password is wrong")]
    WrongLogin,
    #[error("the refresh token is unknown, used, or has run out")]
    WrongRefreshToken,
    #[error("the session has run out; sign in again")]
    SessionExpired,
    #[error("there are as many sessions as one person may have")]
    TooManySessions,
    #[error("an API key has no session")]
    PeopleOnly,
    #[error("the set-up code is wrong")]
    WrongSetupCode,
    /// The server is set up already.
    #[error("the server is set up already")]
    AlreadySetUp,
    #[error("{}", first_detail(.0))]
    Invalid(Vec<FieldError>),
    /// They do not belong to the organization that they want to switch to, or it does not exist.
    #[error("you do not belong to this organization")]
    NotAMember,
    #[error("the session is for this organization already")]
    SameOrganization,
    /// The password was right, but something is to be done first.
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nothing was done about somebody's account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The operator does not want it, or no mail can be sent.
    #[error("this server does not do that")]
    Off,
    /// Unknown, used, too old, or for an address that is taken: the same for all.
    #[error("the token is unknown, used, or has run out")]
    WrongToken,
    #[error("the password is wrong")]
    WrongPassword,
    /// Somebody else made the account, and may know its password.
    #[error("nobody has shown yet that the address is theirs; set a password with a mail first")]
    Unverified,
    /// The right password, but too old; what sets another is in it.
    #[error("the password is too old; set another")]
    PasswordExpired(Hidden),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("{}", first_detail(.0))]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<KeyFailure> for SignInError {
    fn from(error: KeyFailure) -> Self {
        Self::Keys(error.into())
    }
}

/// Somebody tried too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; wait {} seconds", .quota.resets_after.as_secs())]
pub struct TooMany {
    /// Which limit it was, and when the next attempt will be looked at.
    pub quota: Quota,
}

/// More passwords wait to be checked than the server will keep waiting, or nobody can tell whether one
/// was breached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is busy checking passwords; try again in a moment")]
pub struct Busy;

/// Turns a unique value that exists already into a refusal that says what of.
pub(super) fn taken(what: &'static str) -> impl Fn(StoreError) -> ManageError {
    move |error| {
        if error.is_duplicate() { ManageError::Duplicate(what) } else { ManageError::Store(error) }
    }
}

fn first_detail(errors: &[FieldError]) -> String {
    match errors {
        [] => "a field is wrong".to_owned(),
        [first, ..] => format!("{}: {}", first.pointer, first.detail),
    }
}

/// Collects what is wrong with a request's fields.
#[derive(Debug, Default)]
pub(super) struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Notes `detail` against `pointer` when `wrong`.
    pub(super) fn refuse_if(&mut self, wrong: bool, pointer: &str, detail: impl Into<String>) {
        if wrong {
            let (pointer, detail) = (pointer.to_owned(), detail.into());
            self.0.push(FieldError { pointer, detail, rule: None });
        }
    }

    /// The same, with the name of the rule that is broken.
    pub(super) fn refuse_rule_if(
        &mut self,
        wrong: bool,
        (pointer, rule): (&str, &str),
        detail: String,
    ) {
        if wrong {
            let (pointer, rule) = (pointer.to_owned(), Some(rule.to_owned()));
            self.0.push(FieldError { pointer, detail, rule });
        }
    }

    /// A name that people gave: 1 to 100 characters, none of them control characters.
    pub(super) fn check_name(&mut self, name: &str, pointer: &str) {
        let length = name.chars().count();
        let blank = name.trim().is_empty();
        self.refuse_if(blank || length > 100, pointer, "must have 1 to 100 characters");
        self.refuse_if(
            name.chars().any(char::is_control),
            pointer,
            "must not contain control characters",
        );
    }

    /// What something is for, as people put it: at most 200 characters, none of them control characters.
    pub(super) fn check_description(&mut self, text: &str, pointer: &str) {
        let long = text.chars().count() > 200;
        self.refuse_if(long, pointer, "must have at most 200 characters");
        self.refuse_if(
            text.chars().any(char::is_control),
            pointer,
            "must not contain control characters",
        );
    }

    pub(super) fn into_result(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
