-- Whether addresses were brought into the form that they are compared in, which no SQL knows: the server does it
-- when it starts. `clashes` is a JSON list of the accounts whose addresses would become one: a list of ids each.
CREATE TABLE address_folding (
    id        BIGINT PRIMARY KEY CHECK (id = 1),
    folded_at BIGINT NOT NULL,
    clashes   TEXT NOT NULL
);
