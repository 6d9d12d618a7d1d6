-- The last epoch of each lease. Who holds it, and until when, ends with the process that has the
-- file open and is not written.
CREATE TABLE lease_epoch (
    name  TEXT    NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL CHECK (epoch > 0)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 3;
