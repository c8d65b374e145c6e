-- The public half of the key that a device signs orbit's requests with: Ed25519, in hexadecimal; none: it does not.
ALTER TABLE devices ADD COLUMN device_key TEXT;
