-- The channels that people set for a device's components: a JSON object.
ALTER TABLE devices ADD COLUMN update_channels TEXT NOT NULL DEFAULT '{}';
