-- Organizations that were deleted and whose audit trails are kept still.
CREATE TABLE ended_organizations (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    ended_at BIGINT NOT NULL
);
