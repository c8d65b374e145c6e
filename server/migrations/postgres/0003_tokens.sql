-- Keys that sign access tokens. What they are at a moment (next, active, retiring, gone) follows from the times.
CREATE TABLE signing_keys (
    kid         TEXT PRIMARY KEY,
    alg         TEXT NOT NULL,
    public_jwk  TEXT NOT NULL,
    -- PKCS #8, encrypted with the master key named by sealed_by.
    sealed_key  TEXT NOT NULL,
    sealed_by   TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    gone_at     BIGINT
);

-- Access tokens are signed, so a session keeps none; it keeps what its life is judged by.
ALTER TABLE sessions DROP COLUMN access_hash;
ALTER TABLE sessions DROP COLUMN access_expires_at;
ALTER TABLE sessions ADD COLUMN last_action_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN acted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN authenticated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN methods TEXT NOT NULL DEFAULT 'pwd';
ALTER TABLE sessions ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY;
UPDATE sessions SET last_action_at = refreshed_at, authenticated_at = created_at;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE credentials NO FORCE ROW LEVEL SECURITY;
DELETE FROM credentials WHERE kind = 'access_token';
ALTER TABLE credentials FORCE ROW LEVEL SECURITY;

-- Single access tokens that are refused before they end. Sessions, people and organizations are revoked by their sessions.
CREATE TABLE revoked_tokens (
    org_id     TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    jti        TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, jti)
);
ALTER TABLE revoked_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE revoked_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON revoked_tokens
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));

-- Attempts that limits count, before anybody is known to belong to an organization.
CREATE TABLE attempts (
    id     TEXT PRIMARY KEY,
    bucket TEXT NOT NULL,
    at     BIGINT NOT NULL
);
CREATE INDEX attempts_by_bucket ON attempts (bucket, at);
CREATE INDEX attempts_by_time ON attempts (at);

-- Sign-ins that one machine asks for and a person approves on another (RFC 8628). Whose they are is known once approved.
CREATE TABLE device_logins (
    code_hash      TEXT PRIMARY KEY,
    user_code_hash TEXT NOT NULL UNIQUE,
    client         TEXT NOT NULL,
    address        TEXT NOT NULL,
    user_agent     TEXT NOT NULL,
    fingerprint    TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    interval_ms    BIGINT NOT NULL,
    polled_at      BIGINT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'redeemed')),
    organization   TEXT,
    user_id        TEXT
);
CREATE INDEX device_logins_by_end ON device_logins (expires_at);
