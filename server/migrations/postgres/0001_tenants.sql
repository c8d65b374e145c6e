-- Ids are UUIDs (version 7) as TEXT, times milliseconds since 1970 as BIGINT, secrets SHA-256 as hex.

CREATE TABLE organizations (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- People are global: one person may come to belong to several organizations.
CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    last_login_at BIGINT,
    disabled_at   BIGINT
);

-- The one-time code that makes the first owner. At most one row, and none once somebody exists.
CREATE TABLE setup_code (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    code_hash  TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE memberships (
    org_id     TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'owner')),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

-- Finds the organization that a presented secret belongs to, and nothing more.
CREATE TABLE credentials (
    hash       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    org_id     TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    subject_id TEXT NOT NULL
);
CREATE INDEX credentials_by_subject ON credentials (org_id, subject_id, kind);

CREATE TABLE sessions (
    org_id                TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id                    TEXT NOT NULL UNIQUE,
    user_id               TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at            BIGINT NOT NULL,
    expires_at            BIGINT NOT NULL,
    ended_at              BIGINT,
    client                TEXT NOT NULL,
    access_hash           TEXT NOT NULL,
    access_expires_at     BIGINT NOT NULL,
    refresh_hash          TEXT NOT NULL,
    previous_refresh_hash TEXT,
    refreshed_at          BIGINT NOT NULL,
    address               TEXT NOT NULL,
    user_agent            TEXT NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX sessions_by_user ON sessions (org_id, user_id);
CREATE INDEX sessions_by_end ON sessions (org_id, expires_at);

CREATE TABLE api_keys (
    org_id        TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    prefix        TEXT NOT NULL,
    last4         TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    last_used_at  BIGINT,
    last_used_ip  TEXT,
    revoked_at    BIGINT,
    key_hash      TEXT NOT NULL,
    previous_hash TEXT,
    previous_until BIGINT,
    PRIMARY KEY (org_id, id)
);

CREATE TABLE teams (
    org_id     TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, name)
);

CREATE TABLE enroll_secrets (
    org_id       TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id           TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    team_id      TEXT,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    max_uses     BIGINT,
    use_count    BIGINT NOT NULL DEFAULT 0,
    last_used_at BIGINT,
    revoked_at   BIGINT,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id)
);

CREATE TABLE devices (
    org_id              TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id                  TEXT NOT NULL UNIQUE,
    team_id             TEXT,
    hardware_uuid       TEXT NOT NULL,
    machine_id          TEXT,
    osquery_identifier  TEXT NOT NULL,
    hostname            TEXT NOT NULL,
    computer_name       TEXT NOT NULL,
    platform            TEXT NOT NULL,
    platform_like       TEXT NOT NULL,
    os_version          TEXT NOT NULL,
    cpu_type            TEXT NOT NULL,
    hardware_serial     TEXT NOT NULL,
    hardware_model      TEXT NOT NULL,
    orbit_version       TEXT NOT NULL,
    osquery_version     TEXT NOT NULL,
    end_user_email      TEXT,
    enrolled_at         BIGINT NOT NULL,
    orbit_enrolled_at   BIGINT,
    orbit_secret_id     TEXT,
    orbit_key_hash      TEXT,
    osquery_enrolled_at BIGINT,
    osquery_secret_id   TEXT,
    osquery_key_hash    TEXT,
    desktop_token_hash  TEXT,
    desktop_token_at    BIGINT,
    details_at          BIGINT,
    last_seen_at        BIGINT NOT NULL,
    last_seen_ip        TEXT,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id)
);
CREATE INDEX devices_by_hardware_uuid ON devices (org_id, lower(hardware_uuid));
CREATE INDEX devices_by_osquery_identifier ON devices (org_id, lower(osquery_identifier));
CREATE INDEX devices_by_team ON devices (org_id, team_id);

-- Row-level security filters what a query forgets. FORCE, because the server owns its tables.
-- `app.org_id` is set for one transaction; afterwards it is '' rather than NULL.

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON memberships
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));
-- Signing in asks which organizations one person belongs to, before any is chosen.
CREATE POLICY own ON memberships FOR SELECT
    USING (user_id = NULLIF(current_setting('app.user_id', true), ''));

ALTER TABLE credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON credentials
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));
-- Who presents a secret learns which organization it belongs to.
CREATE POLICY presented ON credentials FOR SELECT
    USING (hash = NULLIF(current_setting('app.credential', true), ''));

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON sessions
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON api_keys
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));

ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE teams FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON teams
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));

ALTER TABLE enroll_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE enroll_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON enroll_secrets
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));

ALTER TABLE devices ENABLE ROW LEVEL SECURITY;
ALTER TABLE devices FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON devices
    USING (org_id = NULLIF(current_setting('app.org_id', true), ''))
    WITH CHECK (org_id = NULLIF(current_setting('app.org_id', true), ''));
