-- Sales, their seats, and what was booked. Times are PostgreSQL's own: no instance's clock decides a hold.

CREATE TABLE sales (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    plan        bytea NOT NULL,                -- the seating plan's JSON, byte for byte as it was uploaded
    phase       text NOT NULL DEFAULT 'scheduled'
                CHECK (phase IN ('scheduled', 'open', 'paused', 'closed')),
    opens_at    timestamptz,
    notice      text NOT NULL DEFAULT '',
    rate        double precision NOT NULL,
    max_active  integer NOT NULL,
    grant_ttl_s integer NOT NULL,
    claim_s     integer NOT NULL,
    away_s      integer NOT NULL,
    max_seats   integer NOT NULL,
    hold_ttl_s  integer NOT NULL DEFAULT 0,    -- 0: a booking is confirmed at once
    anonymous   boolean NOT NULL,
    version     bigint NOT NULL DEFAULT 1,     -- rises with every change, so that instances see it
    epoch       bigint NOT NULL DEFAULT 0,     -- lives of the line in Redis; a loss starts the next
    shift_ms    bigint NOT NULL DEFAULT 0,     -- outages so far, added to the deadlines
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN sales.phase IS
    'what the operator said; all_held and sold_out follow from the bookings and are kept nowhere';

CREATE TABLE seats (
    sale_id  text NOT NULL REFERENCES sales,
    position integer NOT NULL,                 -- the seat's bit in the seat map: the order in the plan
    seat_id  text NOT NULL,
    category text NOT NULL,
    blocked  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (sale_id, seat_id)
);

-- The two tables that every redeem writes have no foreign keys. A key to sales would take a share lock on the
-- sale's one row for every booking, thousands a second on one row; a key to seats or bookings a lookup and a
-- lock for each seat. What they would guard is guarded already: seats are checked against the plan before the
-- transaction, both tables are written in one, and sales are never deleted while they have bookings.
CREATE TABLE bookings (
    id              uuid PRIMARY KEY,
    sale_id         text NOT NULL,
    grant_id        uuid NOT NULL UNIQUE,      -- a token books once: this key is what makes it so
    visitor_id      text NOT NULL,
    status          text NOT NULL CHECK (status IN ('held', 'confirmed', 'released', 'void')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    hold_expires_at timestamptz,
    seats           text[] NOT NULL,
    together        boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN bookings.status IS
    'void: a fence under its grant_id against a late commit, never a booking; exports and counts leave it out';
CREATE INDEX bookings_of_visitor ON bookings (sale_id, visitor_id);
CREATE INDEX bookings_held ON bookings (sale_id, hold_expires_at) WHERE status = 'held';

-- One row a taken seat; a freed seat's row is gone. The primary key alone decides who gets a seat.
CREATE TABLE booked_seats (
    sale_id    text NOT NULL,
    seat_id    text NOT NULL,
    booking_id uuid NOT NULL,
    PRIMARY KEY (sale_id, seat_id)
);
CREATE INDEX booked_seats_of_booking ON booked_seats (booking_id);
