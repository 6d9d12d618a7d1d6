-- What a changed definition of a tool leads to.
ALTER TABLE project ADD COLUMN tool_pinning TEXT NOT NULL DEFAULT 'off';

-- Hashes of tools' definitions; empty where there is none. The approved definition of a tool is
-- `approved_hash`, or `first_hash` where that is empty.
CREATE TABLE tool_definition (
    server_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    -- The first that was seen.
    first_hash TEXT NOT NULL,
    -- The last that an Owner approved.
    approved_hash TEXT NOT NULL,
    -- The one in the last catalogue.
    current_hash TEXT NOT NULL,
    PRIMARY KEY (server_id, tool)
);
