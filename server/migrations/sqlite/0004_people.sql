-- What happened, an organization's events one after another. Each hash covers the one before.
-- The organization 00000000-… stands for the server: what happens before it is known whose it is.
CREATE TABLE audit_events (
    org_id     TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    event      TEXT NOT NULL,
    actor      TEXT NOT NULL,
    subject    TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    address    TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    route      TEXT NOT NULL,
    request_id TEXT NOT NULL,
    changes    TEXT NOT NULL,
    previous   TEXT NOT NULL,
    hash       TEXT NOT NULL,
    PRIMARY KEY (org_id, seq)
);
CREATE INDEX audit_events_by_time ON audit_events (org_id, at);

-- The newest event of each, which outlives what retention deletes.
CREATE TABLE audit_heads (
    org_id TEXT PRIMARY KEY,
    seq    BIGINT NOT NULL,
    hash   TEXT NOT NULL
);

-- `person`: may do no more than its creator; `service`: what its scopes say.
ALTER TABLE api_keys ADD COLUMN kind TEXT NOT NULL DEFAULT 'person';

-- A role is one of four or one that the organization made: the server looks which.
CREATE TABLE new_memberships (
    org_id      TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    disabled_at BIGINT,
    PRIMARY KEY (org_id, user_id)
);
INSERT INTO new_memberships (org_id, user_id, role, created_at)
    SELECT org_id, user_id, role, created_at FROM memberships;
DROP TABLE memberships;
ALTER TABLE new_memberships RENAME TO memberships;
CREATE INDEX memberships_by_user ON memberships (user_id);

-- Roles that an organization made. `permissions` is a JSON list.
CREATE TABLE roles (
    org_id      TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- Somebody's role in a team, beside the one in the organization.
CREATE TABLE team_members (
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, team_id, user_id),
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES memberships (org_id, user_id) ON DELETE CASCADE
);
CREATE INDEX team_members_by_user ON team_members (org_id, user_id);

-- Whether devices that it admits wait until somebody approves of them.
ALTER TABLE enroll_secrets ADD COLUMN needs_approval BIGINT NOT NULL DEFAULT 0;

-- `pending`, `accepted`, `rejected` or `decommissioned`: only accepted devices have keys. The tags are
-- separated by commas, with one at each end.
ALTER TABLE devices ADD COLUMN state TEXT NOT NULL DEFAULT 'accepted';
ALTER TABLE devices ADD COLUMN tags TEXT NOT NULL DEFAULT '';

ALTER TABLE users ADD COLUMN password_changed_at BIGINT NOT NULL DEFAULT 0;
UPDATE users SET password_changed_at = created_at;

-- Passwords that somebody had before the present one.
CREATE TABLE password_history (
    user_id       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL,
    used_until    BIGINT NOT NULL
);
CREATE INDEX password_history_by_user ON password_history (user_id, used_until);

-- What a person may do once who shows the token: its row goes with its use.
CREATE TABLE one_time_tokens (
    hash       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email      TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id, kind);

-- People who asked for an account and have not shown yet that the address is theirs. The hash is
-- that of the token that was mailed last.
CREATE TABLE registrations (
    id            TEXT PRIMARY KEY,
    hash          TEXT UNIQUE,
    email         TEXT NOT NULL,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    organization  TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT
);
CREATE INDEX registrations_by_email ON registrations (email, created_at);

-- Mail to be sent. It holds no token: one is made when the mail is.
CREATE TABLE mails (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    recipient  TEXT NOT NULL,
    data       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX mails_by_due ON mails (due_at);

CREATE TABLE invitations (
    org_id     TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id         TEXT NOT NULL UNIQUE,
    email      TEXT NOT NULL,
    role       TEXT NOT NULL,
    invited_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, email)
);
