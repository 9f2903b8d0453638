-- A sale of a deleted one's id goes on counting the operator's changes from there: what an instance that has not heard of
-- the deletion still believes of the old sale is never newer than what is true of the new.
ALTER TABLE deleted_sales ADD COLUMN version bigint NOT NULL DEFAULT 0;
