-- What operators do is kept, written in the transaction that it tells of. It outlives the sale.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    who        text NOT NULL,                  -- the name of a token of the admin API
    action     text NOT NULL,
    sale_id    text,
    booking_id uuid,
    visitor_id text,                           -- '' once the visitor is forgotten
    before     jsonb NOT NULL DEFAULT 'null',
    after      jsonb NOT NULL DEFAULT 'null'
);
CREATE INDEX audit_by_time ON audit (at, id);

-- Who may not come into a sale any more. The line has a copy, which each version of the sale's settings renews.
CREATE TABLE bans (
    sale_id    text NOT NULL,
    visitor_id text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sale_id, visitor_id)
);
