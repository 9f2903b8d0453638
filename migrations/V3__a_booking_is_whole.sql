-- What a row says of itself is true, whatever wrote it. Not valid for old rows until V4 has looked at them, so that
-- this one takes its lock for a moment only. The program before this never wrote anything else; a released booking
-- may keep the time at which its hold would have ended.
ALTER TABLE bookings
    ADD CONSTRAINT hold_ends_iff_held
        CHECK (status = 'released' OR (status = 'held') = (hold_expires_at IS NOT NULL)) NOT VALID,
    ADD CONSTRAINT seats_unless_void
        CHECK ((status = 'void') = (cardinality(seats) = 0)) NOT VALID,
    ADD CONSTRAINT nth_counts_from_0
        CHECK (nth >= 0) NOT VALID;

-- A grant_id begins with 60 bits of the hash of its sale's id, so two sales with the same 60 bits would take each
-- other's grants for spent. This key refuses the second such sale; 48 bits are enough to tell a million sales apart
-- from each other but for one chance in five hundred, in which an operator must choose another id.
CREATE UNIQUE INDEX sales_by_grant_prefix ON sales (substring(sha256(id::bytea) FOR 6));

-- What ANALYZE learns of sale_id is which sales there were: of the one that sells now PostgreSQL would believe that it has
-- one row, and read the whole sale where it should look up a few seats or visitors. Knowing nothing, it expects a
-- two-hundredth of the table in each sale, and uses all columns of a key.
ALTER TABLE bookings ALTER COLUMN sale_id SET STATISTICS 0;
ALTER TABLE booked_seats ALTER COLUMN sale_id SET STATISTICS 0;
ALTER TABLE seats ALTER COLUMN sale_id SET STATISTICS 0;
