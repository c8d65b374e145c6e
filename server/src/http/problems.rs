//! Every kind of problem, in one table: `GET /problems/{name}` and `docs/problems.md` come from it.

use std::fmt::Write as _;

/// A kind of problem: what `type` of RFC 9457 stands for.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of `type`, `/problems/<name>`.
    pub name: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// What it means and what to do about it.
    pub text: &'static str,
}

macro_rules! problems {
    ($($constant:ident = $name:literal $status:literal $title:literal: $text:literal;)*) => {
        $(pub const $constant: &Kind =
            &Kind { name: $name, status: $status, title: $title, text: $text };)*

        /// Every kind, by status.
        pub const ALL: &[&Kind] = &[$($constant),*];
    };
}

problems! {
    MALFORMED_BODY = "malformed-body" 400 "The body is not JSON":
        "The body could not be read as JSON in UTF-8, is cut short, or nests deeper than 128 levels. `detail` says where.";
    INVALID_PARAMETER = "invalid-parameter" 400 "A query parameter is wrong":
        "A parameter in the URL is unknown in form or out of range. `detail` names it.";
    AUTHORIZATION_PENDING = "authorization-pending" 400 "Nobody has approved the code yet":
        "Ask again after `interval` seconds. `error` is `authorization_pending`, as RFC 8628 has it.";
    SLOW_DOWN = "slow-down" 400 "The code is asked for too often":
        "Wait five seconds longer between two questions from here on. `error` is `slow_down`.";
    ACCESS_DENIED = "access-denied" 400 "The person refused":
        "Whoever was asked to approve the sign-in denied it. `error` is `access_denied`.";
    EXPIRED_CODE = "expired-code" 400 "The code has run out":
        "A code lasts ten minutes. Ask for another. `error` is `expired_token`.";
    UNKNOWN_CODE = "unknown-code" 400 "There is no such code":
        "It was never given out, or its tokens were fetched already. `error` is `invalid_grant`.";
    TOKEN_INVALID = "token-invalid" 400 "The token is not good":
        "A token from a mail works once and for a while. It is unknown, was used, has run out, or was replaced by a newer one. Ask for another.";
    WRONG_SIGNATURE = "wrong-signature" 400 "The request is not as its device has signed it":
        "A device's signature names its key, and was not made over this method, path and body, or its headers are incomplete. Something between device and server changes requests: let `Signature`, `Signature-Input` and `Content-Digest` pass, and say the whole path in `server.url`.";
    STALE_SIGNATURE = "stale-signature" 400 "The request's signature counts no more":
        "A device has signed the request more than five minutes ago by the server's clock, or ahead of it, or the same request came before. Sign it anew by the time in `Date`.";
    UNAUTHENTICATED = "unauthenticated" 401 "Sign in, or present an API key":
        "No access token or API key was presented, or more than one was, or it is unknown or has ended. Sign in again, or refresh the session. Unknown and wrong are not told apart.";
    TOKEN_EXPIRED = "token-expired" 401 "The access token has ended":
        "Access tokens last a quarter of an hour unless the server is configured otherwise. Trade the refresh token for new ones at `/auth/refresh`, and repeat the request.";
    INVALID_SIGNATURE = "invalid-signature" 401 "The access token's signature is wrong":
        "The token was changed, or signed by another server. If that was this server before, check `auth.jwt.secret`; everybody else signs in again.";
    SESSION_EXPIRED = "session-expired" 401 "The session has run out":
        "Nobody did anything in it for as long as `auth.session.timeout`, or it lasted as long as any may. Sign in again.";
    KEY_EXPIRED = "key-expired" 401 "The API key has expired":
        "The key's `expires_at`, or the overlap after its rotation, is over. Rotating does not move `expires_at`: create another key. After a rotation, use the value that it gave.";
    KEY_REVOKED = "key-revoked" 401 "The API key is revoked":
        "Somebody revoked the key, or removed the person who made it. It never works again; create another.";
    WRONG_LOGIN = "wrong-login" 401 "The e-mail address or the password is wrong":
        "Which of the two is not told.";
    WRONG_REFRESH_TOKEN = "wrong-refresh-token" 401 "The refresh token is not good":
        "It is unknown, was used before, or its session has ended. A refresh token works once; within seconds it gives the same new tokens again, after that using it ends the session. Sign in again.";
    FORBIDDEN = "forbidden" 403 "You may not do this":
        "The role, or the scopes of the API key, do not allow it. `detail` names the permission that is missing. API keys cannot manage API keys, nor make or remove people whose role can; nobody grants a role above their own, or rotates a key that may do more than they.";
    IP_NOT_ALLOWED = "ip-not-allowed" 403 "The organization does not let anybody in from there":
        "Its owner says which networks its people and API keys may ask from (`allowed_networks` of `PATCH /organization`). What is about one's own account under `/auth` works from anywhere.";
    WRONG_PASSWORD = "wrong-password" 403 "The present password is wrong":
        "It is asked for again where something changes that it protects.";
    EMAIL_UNVERIFIED = "email-unverified" 403 "Nobody has shown that the address is theirs":
        "The account was made by somebody else, who may know its password. Ask for another password (`POST /auth/forgot-password`), which shows that the address is yours, and repeat the request with it.";
    PASSWORD_EXPIRED = "password-expired" 403 "The password is too old":
        "It was right, but is older than `auth.password.max_age`. Set another at `POST /auth/reset-password` with `change_token`, which works for ten minutes, and sign in again.";
    WRONG_KEY = "wrong-key" 403 "The key is for something else":
        "Its form says so: `dk` and `ek` keys are devices', `test` keys are for an installation whose `api_keys.environment` is `test`, `live` keys for one where it is `live`.";
    STEP_UP_REQUIRED = "step-up-required" 403 "Show your password once more":
        "What is sensitive needs a password that was shown lately (`auth.session.recent_login`), from the network that the request comes from. Send it to `/auth/step-up` and repeat the request.";
    TOO_MANY_SESSIONS = "too-many-sessions" 403 "There are too many sessions":
        "The person has as many sessions as `auth.session.max_concurrent` allows, and `auth.session.on_limit` is `reject`. End one of them.";
    WRONG_SETUP_CODE = "wrong-setup-code" 403 "The set-up code is wrong":
        "The server prints a code when it starts and nobody can sign in yet. A restart makes a fresh one.";
    CROSS_SITE = "cross-site" 403 "The request came from another site":
        "A browser sent the refresh cookie on behalf of another site.";
    HTTPS_REQUIRED = "https-required" 403 "Plain HTTP is for the proxy alone":
        "The server stands behind a proxy that ends TLS, and this request did not come from it. Use the `https` address.";
    NOT_FOUND = "not-found" 404 "There is no such thing":
        "No such route, or nothing with this id in your organization.";
    METHOD_NOT_ALLOWED = "method-not-allowed" 405 "The route does not know this method":
        "The `Allow` header lists the methods that it knows.";
    BODY_TIMEOUT = "body-timeout" 408 "The body took too long":
        "The body did not arrive within `limits.body_timeout`.";
    CONFLICT = "conflict" 409 "Something like it exists already":
        "A name, an e-mail address, an enroll secret or a token that must be unique is taken, somebody else changed the same thing at the same moment, or a device is not in the state that the change begins with.";
    KEY_IS_REVOKED = "key-is-revoked" 409 "A revoked API key cannot be rotated":
        "Create another key.";
    LAST_OWNER = "last-owner" 409 "An organization keeps at least one owner":
        "Make somebody else an owner first.";
    ROLE_IN_USE = "role-in-use" 409 "The role stays as it is":
        "To be deleted, it must be nobody's: somebody has it, in the organization or in a team, or is invited to it; give them another first. Owner, admin, operator and viewer are roles of every organization: nobody changes or deletes them. What a role grants is not changed where it grants what only a newer version of the server knows.";
    TEAM_IN_USE = "team-in-use" 409 "The team has devices":
        "A team with devices cannot be deleted. Delete the devices, or enroll them with a secret of another team.";
    BODY_TOO_LARGE = "body-too-large" 413 "The body is too large":
        "Most routes take 64 KiB; enrolling 1 MiB; osquery's results and logs 10 MiB, and at most 10000 lines at once.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type" 415 "The body must be JSON":
        "Send `Content-Type: application/json`.";
    INVALID_FIELDS = "invalid-fields" 422 "The body has wrong fields":
        "The body is JSON, but a field is missing, unknown, or has a value that is not allowed. `errors` lists each by JSON pointer where the server can tell; `detail` says the first.";
    SCOPE_TOO_WIDE = "scope-too-wide" 422 "The API key would do more than its creator":
        "Each scope must be a permission that you have yourself.";
    TOO_MANY_ATTEMPTS = "too-many-attempts" 429 "Too many attempts":
        "Wait for as many seconds as `Retry-After` says; `RateLimit-Policy` names the limit. Even the right answer is not looked at before.";
    INTERNAL = "internal" 500 "The server made a mistake":
        "`instance` names the request; the server's log has the cause under the same id.";
    BUSY = "busy" 503 "The server is busy":
        "More passwords wait to be checked than the server keeps waiting, or more files of a bucket of updates are on their way, \
         or what `auth.password.breached` names does not answer and `on_failure` is `refuse`. Try again after `Retry-After`.";
    UNAVAILABLE = "unavailable" 503 "The database does not answer":
        "Nothing was changed, or it cannot be told whether it was. Try again after `Retry-After`.";
    TIMEOUT = "timeout" 503 "The request took too long":
        "It was given up after `limits.request_timeout`. Try again after `Retry-After`.";
}

impl Kind {
    /// The value of `type`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("/problems/{}", self.name)
    }

    /// The page that explains it.
    #[must_use]
    pub fn page(&self) -> String {
        format!("# {}\n\n`{}`, status {}\n\n{}\n", self.title, self.uri(), self.status, self.text)
    }
}

/// All kinds on one page: `docs/problems.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Problems\n\nRefusals are RFC 9457 problems (`application/problem+json`). `type` is one \
         of these and stays the same between versions; `title` and `detail` are for people. The \
         server explains each at its `type`, e.g. `GET /problems/not-found`. Agent endpoints \
         answer `{\"error\": …}` with the same statuses.\n\n| `type` | status | means |\n|---|---|---|\n",
    );
    for kind in ALL {
        let _ = writeln!(
            page,
            "| `{}` | {} | **{}.** {} |",
            kind.uri(),
            kind.status,
            kind.title,
            kind.text
        );
    }
    page
}
