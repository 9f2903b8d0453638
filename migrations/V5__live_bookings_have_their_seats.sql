-- No seat twice, whatever a program does. A seat has one row in booked_seats, which is one booking's: that the
-- primary key sees to. These see to it that nobody lives on a seat without its row: at its commit, every booking
-- that was made live has the row of each of its seats, and no row goes from under a live booking.
-- Deferred, because a program may write bookings and seats in any order.
CREATE FUNCTION live_booking_has_its_seats() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seat text;
BEGIN
    FOREACH seat IN ARRAY NEW.seats LOOP
        -- The whole primary key: the plan is an index scan however little is known of the table.
        PERFORM FROM booked_seats WHERE sale_id = NEW.sale_id AND seat_id = seat AND booking_id = NEW.id;
        -- What was written may be undone by the same transaction.
        IF NOT FOUND AND EXISTS (SELECT FROM bookings WHERE id = NEW.id AND status IN ('held', 'confirmed')) THEN
            RAISE integrity_constraint_violation USING
                CONSTRAINT = TG_NAME, MESSAGE = format('booking %s lives without the seat %s', NEW.id, seat);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER live_booking_has_its_seats
    AFTER INSERT OR UPDATE OF id, sale_id, status, seats ON bookings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status IN ('held', 'confirmed')) EXECUTE FUNCTION live_booking_has_its_seats();

CREATE FUNCTION freed_seat_has_no_live_booking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM bookings WHERE id = OLD.booking_id AND sale_id = OLD.sale_id
                   AND status IN ('held', 'confirmed') AND OLD.seat_id = ANY (seats))
       AND NOT EXISTS (SELECT FROM booked_seats
                           WHERE sale_id = OLD.sale_id AND seat_id = OLD.seat_id AND booking_id = OLD.booking_id) THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = TG_NAME, MESSAGE = format('booking %s lives on the seat %s', OLD.booking_id, OLD.seat_id);
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER freed_seat_has_no_live_booking
    AFTER DELETE OR UPDATE ON booked_seats DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION freed_seat_has_no_live_booking();
