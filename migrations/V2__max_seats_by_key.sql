-- A visitor's bookings of a sale are numbered, the released ones included: nth 0, 1, 2 … Whoever books checks
-- max_seats against the bookings that it sees and takes the next number; two that do not see each other take the
-- same, and this key lets only one of them pass. Void rows, and rows older than this column, have none.
ALTER TABLE bookings ADD COLUMN nth integer;
COMMENT ON COLUMN bookings.nth IS 'how many bookings of the sale the visitor had before this one';
CREATE UNIQUE INDEX bookings_nth_of_visitor ON bookings (sale_id, visitor_id, nth);
DROP INDEX bookings_of_visitor;            -- the new key's first two columns
