-- The tables of a program whose keys are drawn by the database (JPA's GenerationType.IDENTITY). They differ from the
-- real ones in that alone: a bigserial id for each row, so a seat has a key more.
CREATE TABLE identity_bookings (
    id              bigserial PRIMARY KEY,
    sale_id         text NOT NULL,
    grant_id        uuid NOT NULL UNIQUE,
    visitor_id      text NOT NULL,
    status          text NOT NULL CHECK (status IN ('held', 'confirmed', 'released', 'void')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    hold_expires_at timestamptz,
    seats           text[] NOT NULL,
    together        boolean NOT NULL DEFAULT false,
    nth             integer
);
CREATE INDEX ON identity_bookings (sale_id, hold_expires_at) WHERE status = 'held';
CREATE UNIQUE INDEX ON identity_bookings (sale_id, visitor_id, nth);
CREATE TABLE identity_booked_seats (
    id         bigserial PRIMARY KEY,
    sale_id    text NOT NULL,
    seat_id    text NOT NULL,
    booking_id bigint NOT NULL,
    UNIQUE (sale_id, seat_id)
);
CREATE INDEX ON identity_booked_seats (booking_id);
