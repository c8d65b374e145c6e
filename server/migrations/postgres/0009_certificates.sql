-- The certificates that the node keys of a device's halves have to come with (SHA-256 in hex), if any.
ALTER TABLE devices ADD COLUMN orbit_certificate TEXT;
ALTER TABLE devices ADD COLUMN osquery_certificate TEXT;
