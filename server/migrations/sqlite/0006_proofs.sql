-- When whoever approved a sign-in elsewhere had proved who they are.
ALTER TABLE device_logins ADD COLUMN authenticated_at BIGINT;

-- When a mail to the address was answered; nothing while nobody has shown that it is theirs.
ALTER TABLE users ADD COLUMN email_verified_at BIGINT;

-- Networks that somebody signed in from: guesses elsewhere do not shut them out there.
CREATE TABLE known_networks (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, network)
);
CREATE INDEX known_networks_by_time ON known_networks (seen_at);
