-- Whether a device's osqueryd runs with orbit's present node key as what it enrolls with: it can be told to
-- enroll again without losing anything.
ALTER TABLE devices ADD COLUMN osqueryd_renews BIGINT NOT NULL DEFAULT 0;
