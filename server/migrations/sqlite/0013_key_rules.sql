-- What an organization says of its API keys: which environment they are for, and how long they may last, in
-- seconds; nothing: as the server says.
ALTER TABLE organizations ADD COLUMN key_environment TEXT;
ALTER TABLE organizations ADD COLUMN key_max_ttl BIGINT;
