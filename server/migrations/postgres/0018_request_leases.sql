-- Slots of limits of requests that servers have leased, so that they do not ask about each request: how many their
-- holder may use until then; once that is over, how many it has used, and when the last.
CREATE TABLE request_leases (
    bucket       TEXT NOT NULL,
    holder       TEXT NOT NULL,
    serial       BIGINT NOT NULL,
    usable_until BIGINT NOT NULL,
    n            BIGINT NOT NULL,
    PRIMARY KEY (bucket, holder, serial)
);
CREATE INDEX request_leases_by_time ON request_leases (usable_until);
