-- Networks that an organization's people and keys may ask from, separated by commas; none: anywhere.
ALTER TABLE organizations ADD COLUMN allowed_networks TEXT NOT NULL DEFAULT '';
