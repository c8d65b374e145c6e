-- What the text filter of devices looks at: host name, serial number and hardware UUID in lower case,
-- as the server folds it.
ALTER TABLE devices ADD COLUMN search_text TEXT NOT NULL DEFAULT '';
ALTER TABLE devices NO FORCE ROW LEVEL SECURITY;
UPDATE devices SET search_text = lower(hostname || chr(10) || hardware_serial || chr(10) || hardware_uuid);
ALTER TABLE devices FORCE ROW LEVEL SECURITY;

-- From it and the refresh token before, the present tokens can be made once more.
ALTER TABLE sessions ADD COLUMN successor_salt TEXT;
