-- The hardware that an enroll secret admits: UUIDs and serial numbers in lower case, a line each; none: any.
ALTER TABLE enroll_secrets ADD COLUMN hardware_ids TEXT NOT NULL DEFAULT '';

-- When orbit's node key was made, and the one that is to replace it, until its first use.
ALTER TABLE devices ADD COLUMN orbit_key_at BIGINT;
ALTER TABLE devices ADD COLUMN orbit_next_hash TEXT;
ALTER TABLE devices ADD COLUMN orbit_next_at BIGINT;

-- Where the keys of a device's halves were last used from (JSON), and when one of them was last used by
-- two machines at once, as far as it seems.
ALTER TABLE devices ADD COLUMN orbit_use TEXT NOT NULL DEFAULT '{}';
ALTER TABLE devices ADD COLUMN osquery_use TEXT NOT NULL DEFAULT '{}';
ALTER TABLE devices ADD COLUMN clone_suspected_at BIGINT;

-- Since when a device is in its state, and whose decision that was.
ALTER TABLE devices ADD COLUMN state_changed_at BIGINT;
ALTER TABLE devices ADD COLUMN state_changed_by TEXT;
