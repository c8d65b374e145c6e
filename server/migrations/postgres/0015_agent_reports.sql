-- Which components of a device end as often as they are started: a JSON array, as its agent told last.
ALTER TABLE devices ADD COLUMN crash_loops TEXT NOT NULL DEFAULT '[]';

-- Until when a device's agent is to log more, if somebody asked for it.
ALTER TABLE devices ADD COLUMN debug_until BIGINT;
