-- Reads the whole table, while it is read and written as always.
ALTER TABLE bookings VALIDATE CONSTRAINT hold_ends_iff_held;
ALTER TABLE bookings VALIDATE CONSTRAINT seats_unless_void;
ALTER TABLE bookings VALIDATE CONSTRAINT nth_counts_from_0;
