-- What happened in a sale's line, entry by entry, chained by hashes (docs/journal.md). Nobody is named in it but by the
-- number of his place; who drew which is in a table of its own, from which people can be erased while the proof stays.

CREATE TABLE journal (
    sale_id     text NOT NULL,
    epoch       bigint NOT NULL,               -- the line's life in Redis
    n           bigint NOT NULL,               -- the entry's number in it, from 1
    batch       bigint NOT NULL,
    entry       text NOT NULL,                 -- JSON, byte for byte as it was hashed
    commitments bytea NOT NULL DEFAULT '',     -- 32 bytes for each place that the entry drew
    PRIMARY KEY (sale_id, epoch, n)
);

-- The links of the chain: entries that were journaled together.
CREATE TABLE journal_batches (
    sale_id  text NOT NULL,
    batch    bigint NOT NULL,
    previous bytea NOT NULL,                   -- the hash of the batch before
    epoch    bigint NOT NULL,
    first    bigint NOT NULL,
    last     bigint NOT NULL,
    leaves   bigint NOT NULL,
    root     bytea NOT NULL,
    at       bigint NOT NULL,                  -- ms, by PostgreSQL's clock
    PRIMARY KEY (sale_id, batch)
);

-- Where the chain ends, and which instance adds to it until when. Its row is locked by each writer.
CREATE TABLE journal_heads (
    sale_id text PRIMARY KEY,
    batch   bigint NOT NULL DEFAULT 0,
    epoch   bigint NOT NULL DEFAULT 0,
    n       bigint NOT NULL DEFAULT 0,
    hash    bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    source  bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'), -- of the last entry as it was in the stream
    holder  text NOT NULL DEFAULT '',
    until   timestamptz NOT NULL DEFAULT '-infinity'
);

-- Who drew a place, and what makes his commitment. Without this row the commitment is anyone's.
CREATE TABLE journal_places (
    sale_id    text NOT NULL,
    seq        bigint NOT NULL,
    epoch      bigint NOT NULL,                -- where in the journal it was drawn, or found again
    n          bigint NOT NULL,
    visitor_id text NOT NULL,
    salt       bytea NOT NULL,
    PRIMARY KEY (sale_id, seq, epoch, n)
);
