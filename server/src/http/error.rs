//! From what the server refuses to what HTTP says: the only place that maps one to the other.
//!
//! Handlers return [`ApiError`]; [`envelope`](super::envelope) renders it, as a problem for people
//! and in the agents' own shape for them, once it knows the request.

use std::{error::Error, fmt, sync::Arc};

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use wire::{
    api::{FieldError, Hidden, Problem},
    orbit::AgentError,
};

use super::problems::{self, Kind};
use crate::fleet::{
    StoreError,
    actor::Forbidden,
    device_login::{ApprovalError, DeviceLoginError},
    enroll::EnrollError,
    errors::{AccountError, ManageError, SignInError, TooMany},
    keys::KeyError,
    limits::{LimitError, Policy, Quota},
    nodes::NodeError,
    proof::ProofError,
    signatures::SignatureError,
    tokens::TokenError,
};

/// A refusal.
#[derive(Debug, Clone)]
pub struct ApiError(Arc<Refusal>);

#[derive(Debug)]
struct Refusal {
    kind: &'static Kind,
    detail: Option<String>,
    errors: Vec<FieldError>,
    change_token: Option<Hidden>,
    /// A token was presented, and is no good (RFC 6750, section 3).
    token_refused: bool,
    /// Seconds.
    retry_after: Option<i64>,
    /// The limit that was reached.
    quota: Option<Quota>,
    /// What OAuth calls it (RFC 6749, section 5.2).
    code: Option<&'static str>,
    /// What went wrong inside, for the log alone.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Refusal {
    /// With nothing to say but its kind. Who is told that a server is busy may come back in a second.
    fn of(kind: &'static Kind) -> Self {
        let retry_after = (kind.status == 503).then_some(1);
        Self {
            kind,
            detail: None,
            errors: Vec::new(),
            change_token: None,
            token_refused: false,
            retry_after,
            quota: None,
            code: None,
            cause: None,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self(Arc::new(refusal))
    }
}

impl ApiError {
    /// A refusal with nothing more to say than its kind.
    #[must_use]
    pub fn of(kind: &'static Kind) -> Self {
        Self::new(kind, None)
    }

    /// A refusal that says what exactly is wrong.
    #[must_use]
    pub fn because(kind: &'static Kind, detail: impl fmt::Display) -> Self {
        Self::new(kind, Some(detail.to_string()))
    }

    fn new(kind: &'static Kind, detail: Option<String>) -> Self {
        Self::from(Refusal { detail, ..Refusal::of(kind) })
    }

    /// A token was presented that is no good.
    pub(super) fn refused_token(kind: &'static Kind) -> Self {
        Self::from(Refusal { token_refused: true, ..Refusal::of(kind) })
    }

    fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map(|error| format!("{} {}", error.pointer, error.detail));
        Self::from(Refusal { detail, errors, ..Refusal::of(problems::INVALID_FIELDS) })
    }

    /// A failure of ours that the caller can do nothing about; the log says what it was.
    #[must_use]
    pub fn failed(kind: &'static Kind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self::from(Refusal { cause: Some(Box::from(cause)), ..Refusal::of(kind) })
    }

    /// What was missing, if this refuses somebody known what they may not do.
    pub(super) fn forbidden(&self) -> Option<String> {
        let Refusal { kind, detail, .. } = &*self.0;
        let forbidden = [problems::FORBIDDEN, problems::IP_NOT_ALLOWED].contains(kind);
        forbidden.then(|| detail.clone().unwrap_or_else(|| kind.title.to_owned()))
    }

    /// The kind of problem, and the limit that was met, if one was.
    pub(super) fn told(&self) -> (&'static str, Option<&'static str>) {
        (self.0.kind.name, self.0.quota.map(|quota| quota.policy.name))
    }

    /// Logs what went wrong inside, once, with the whole chain.
    pub(super) fn log(&self, request_id: &str) {
        let Refusal { kind, cause, .. } = &*self.0;
        if kind.status < 500 {
            tracing::debug!(request.id = request_id, problem = kind.name, "refused");
            return;
        }
        let mut chain = String::new();
        let mut next: Option<&dyn Error> = cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = next {
            chain.push_str(&format!(": {error}"));
            next = error.source();
        }
        tracing::error!(
            request.id = request_id,
            problem = kind.name,
            "request {request_id} failed{chain}"
        );
    }

    /// The problem that people and scripts get.
    pub(super) fn as_problem(&self, request_id: &str) -> Response {
        let Refusal { kind, detail, errors, change_token, .. } = &*self.0;
        let problem = Problem {
            kind: kind.uri(),
            title: kind.title.to_owned(),
            status: kind.status,
            detail: Some(detail.clone().unwrap_or_else(|| kind.title.to_owned())),
            instance: Some(format!("/requests/{request_id}")),
            change_token: change_token.clone(),
            errors: errors.clone(),
            error: self.0.code.map(str::to_owned),
        };
        let mut response = (self.status(), Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if kind.status == 401 {
            let challenge =
                if self.0.token_refused { "Bearer error=\"invalid_token\"" } else { "Bearer" };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        self.add_retry_after(response)
    }

    /// What an agent gets. osqueryd takes `node_invalid` as the order to enroll again.
    pub(super) fn as_agent_error(&self, osquery: bool) -> Response {
        let Refusal { kind, detail, .. } = &*self.0;
        let error = AgentError {
            error: detail.clone().unwrap_or_else(|| kind.title.to_owned()),
            node_invalid: (osquery && kind.status == 401).then_some(true),
        };
        self.add_retry_after((self.status(), Json(error)).into_response())
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn add_retry_after(&self, mut response: Response) -> Response {
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(quota) = &self.0.quota {
            tell_quota(response.headers_mut(), quota);
        }
        response
    }
}

/// How a caller stands with a limit, as draft-ietf-httpapi-ratelimit-headers-11 has it.
pub(super) fn tell_quota(headers: &mut HeaderMap, quota: &Quota) {
    let Policy { name, limit, window, .. } = quota.policy;
    let (window, reset) = (window.as_secs(), seconds(quota.resets_after));
    for (header, text) in [
        ("ratelimit-policy", format!("\"{name}\";q={limit};w={window}")),
        ("ratelimit", format!("\"{name}\";r={};t={reset}", quota.remaining)),
    ] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(header, value);
        }
    }
}

/// Whole seconds, the last one begun counted.
fn seconds(length: SignedDuration) -> i64 {
    length.as_secs() + i64::from(length.subsec_nanos() > 0)
}

/// Carries the error to [`envelope`](super::envelope), which knows how to show it.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Unavailable(_) => problems::UNAVAILABLE,
            StoreError::Statement(_) | StoreError::Corrupt(_) => problems::INTERNAL,
        };
        Self::failed(kind, error)
    }
}

impl From<TooMany> for ApiError {
    fn from(error: TooMany) -> Self {
        let seconds = seconds(error.quota.resets_after);
        Self::from(Refusal {
            detail: Some(format!("wait {seconds} seconds")),
            retry_after: Some(seconds.max(1)),
            quota: Some(error.quota),
            ..Refusal::of(problems::TOO_MANY_ATTEMPTS)
        })
    }
}

impl From<LimitError> for ApiError {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::TooMany(error) => error.into(),
            LimitError::Store(error) => error.into(),
        }
    }
}

impl From<ProofError> for ApiError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Unauthenticated => Self::refused_token(problems::UNAUTHENTICATED),
            ProofError::KeyExpired => Self::refused_token(problems::KEY_EXPIRED),
            ProofError::KeyRevoked => Self::refused_token(problems::KEY_REVOKED),
            ProofError::KeyOfOtherKind | ProofError::KeyOfOtherEnvironment => {
                Self::because(problems::WRONG_KEY, error)
            }
            ProofError::Token(TokenError::Expired) => Self::refused_token(problems::TOKEN_EXPIRED),
            ProofError::Token(TokenError::Signature) => {
                Self::refused_token(problems::INVALID_SIGNATURE)
            }
            ProofError::Token(TokenError::Foreign) => {
                Self::refused_token(problems::UNAUTHENTICATED)
            }
            ProofError::RanOut(_) => Self::refused_token(problems::SESSION_EXPIRED),
            ProofError::Keys(error) => error.into(),
            ProofError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Secret | KeyError::Failure(_) => Self::failed(problems::INTERNAL, error),
        }
    }
}

impl From<Forbidden> for ApiError {
    fn from(forbidden: Forbidden) -> Self {
        let kind = match forbidden {
            Forbidden::StepUp => problems::STEP_UP_REQUIRED,
            Forbidden::Network(_) => problems::IP_NOT_ALLOWED,
            Forbidden::Lacking(_) | Forbidden::PeopleOnly | Forbidden::AboveOwnRole => {
                problems::FORBIDDEN
            }
        };
        Self::because(kind, forbidden)
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::WrongLogin => Self::of(problems::WRONG_LOGIN),
            SignInError::WrongRefreshToken => Self::of(problems::WRONG_REFRESH_TOKEN),
            SignInError::SessionExpired => Self::of(problems::SESSION_EXPIRED),
            SignInError::TooManySessions => Self::of(problems::TOO_MANY_SESSIONS),
            SignInError::PeopleOnly => Forbidden::PeopleOnly.into(),
            SignInError::WrongSetupCode => Self::of(problems::WRONG_SETUP_CODE),
            SignInError::AlreadySetUp => Self::of(problems::NOT_FOUND),
            SignInError::Invalid(errors) => Self::invalid(errors),
            SignInError::NotAMember => Self::because(problems::FORBIDDEN, error),
            SignInError::SameOrganization => Self::because(problems::CONFLICT, error),
            SignInError::Account(error) => error.into(),
            SignInError::Limit(error) => error.into(),
            SignInError::Busy(_) => Self::of(problems::BUSY),
            SignInError::Keys(error) => error.into(),
            SignInError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Off => Self::of(problems::NOT_FOUND),
            AccountError::WrongToken => Self::of(problems::TOKEN_INVALID),
            AccountError::WrongPassword => Self::of(problems::WRONG_PASSWORD),
            AccountError::Unverified => Self::of(problems::EMAIL_UNVERIFIED),
            AccountError::PasswordExpired(token) => Self::from(Refusal {
                change_token: Some(token),
                ..Refusal::of(problems::PASSWORD_EXPIRED)
            }),
            AccountError::Forbidden(forbidden) => forbidden.into(),
            AccountError::Invalid(errors) => Self::invalid(errors),
            AccountError::Limit(error) => error.into(),
            AccountError::Busy(_) => Self::of(problems::BUSY),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Forbidden(forbidden) => forbidden.into(),
            ManageError::Unknown(_) => Self::of(problems::NOT_FOUND),
            ManageError::Invalid(errors) => Self::invalid(errors),
            ManageError::Duplicate(_)
            | ManageError::KeyRotated
            | ManageError::DeviceState { .. } => Self::because(problems::CONFLICT, error),
            ManageError::TeamInUse => Self::of(problems::TEAM_IN_USE),
            ManageError::RoleInUse
            | ManageError::BuiltInRole
            | ManageError::UnknownPermissions(_) => Self::because(problems::ROLE_IN_USE, error),
            ManageError::LastOwner => Self::of(problems::LAST_OWNER),
            ManageError::KeyRevoked => Self::of(problems::KEY_IS_REVOKED),
            ManageError::ScopeTooWide(_) => Self::because(problems::SCOPE_TOO_WIDE, error),
            ManageError::Busy(_) => Self::of(problems::BUSY),
            ManageError::Store(error) => error.into(),
        }
    }
}

impl From<DeviceLoginError> for ApiError {
    fn from(error: DeviceLoginError) -> Self {
        let (kind, code) = match error {
            DeviceLoginError::Pending => (problems::AUTHORIZATION_PENDING, "authorization_pending"),
            DeviceLoginError::SlowDown => (problems::SLOW_DOWN, "slow_down"),
            DeviceLoginError::Denied => (problems::ACCESS_DENIED, "access_denied"),
            DeviceLoginError::Expired => (problems::EXPIRED_CODE, "expired_token"),
            DeviceLoginError::Unknown => (problems::UNKNOWN_CODE, "invalid_grant"),
            DeviceLoginError::SignIn(error) => return error.into(),
        };
        Self::from(Refusal { code: Some(code), ..Refusal::of(kind) })
    }
}

impl From<ApprovalError> for ApiError {
    fn from(error: ApprovalError) -> Self {
        match error {
            ApprovalError::Unknown => Self::of(problems::NOT_FOUND),
            ApprovalError::Forbidden(forbidden) => forbidden.into(),
            ApprovalError::Limit(error) => error.into(),
            ApprovalError::SignIn(error) => error.into(),
            ApprovalError::Store(error) => error.into(),
        }
    }
}

impl From<EnrollError> for ApiError {
    fn from(error: EnrollError) -> Self {
        match error {
            EnrollError::Refused | EnrollError::NotAccepted => {
                Self::because(problems::UNAUTHENTICATED, error)
            }
            EnrollError::Invalid(errors) => Self::invalid(errors),
            EnrollError::KeyRequired => Self::because(problems::FORBIDDEN, error),
            EnrollError::Signature(error) => error.into(),
            EnrollError::TooMany(error) => error.into(),
            EnrollError::Store(error) => error.into(),
        }
    }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        let kind = match error {
            SignatureError::Missing => problems::UNAUTHENTICATED,
            SignatureError::Wrong(_) => problems::WRONG_SIGNATURE,
            SignatureError::Stale | SignatureError::Repeated => problems::STALE_SIGNATURE,
        };
        Self::because(kind, error)
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::UnknownKey | NodeError::OldKey | NodeError::UnknownToken => {
                Self::because(problems::UNAUTHENTICATED, error)
            }
            NodeError::OtherDevice => Self::because(problems::WRONG_KEY, error),
            NodeError::Signature(error) => error.into(),
            NodeError::Keys(error) => error.into(),
            NodeError::TooMany(error) => error.into(),
            NodeError::TokenTaken => Self::because(problems::CONFLICT, error),
            NodeError::TooManyLines => Self::because(problems::BODY_TOO_LARGE, error),
            NodeError::Log(_) => Self::failed(problems::INTERNAL, error),
            NodeError::Store(error) => error.into(),
        }
    }
}
