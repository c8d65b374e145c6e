-- How updates of a device's components stand, as its agent last told it: a JSON list.
ALTER TABLE devices ADD COLUMN updates TEXT NOT NULL DEFAULT '[]';

-- What of it is counted: which version a component runs or tries, and which has failed there.
CREATE TABLE device_updates (
    org_id          TEXT NOT NULL,
    device_id       TEXT NOT NULL,
    component       TEXT NOT NULL,
    version         TEXT NOT NULL,
    blocked_version TEXT NOT NULL,
    PRIMARY KEY (org_id, device_id, component),
    FOREIGN KEY (org_id, device_id) REFERENCES devices (org_id, id) ON DELETE CASCADE
);
CREATE INDEX device_updates_by_version ON device_updates (org_id, component, version);
CREATE INDEX device_updates_by_blocked ON device_updates (org_id, component, blocked_version);
