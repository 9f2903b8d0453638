-- A sale that was deleted leaves its epoch behind: a sale of the same id goes on from there, so that no place and no grant
-- of the old one is ever taken for one of the new.
CREATE TABLE deleted_sales (
    sale_id text PRIMARY KEY,
    epoch   bigint NOT NULL
);

ALTER TABLE sales ADD COLUMN first_epoch bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN sales.first_epoch IS 'the last epoch of a deleted sale of this id; what is of it or before is worth nothing';

-- Released by the shop or the operator, not by time: money that comes late does not book it again.
ALTER TABLE bookings ADD COLUMN given_back boolean NOT NULL DEFAULT false;
