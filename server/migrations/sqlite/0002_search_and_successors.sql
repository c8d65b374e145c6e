-- What the text filter of devices looks at: host name, serial number and hardware UUID in lower case,
-- as the server folds it (SQLite's lower() knows ASCII alone).
ALTER TABLE devices ADD COLUMN search_text TEXT NOT NULL DEFAULT '';
UPDATE devices SET search_text = lower(hostname || char(10) || hardware_serial || char(10) || hardware_uuid);

-- From it and the refresh token before, the present tokens can be made once more.
ALTER TABLE sessions ADD COLUMN successor_salt TEXT;
