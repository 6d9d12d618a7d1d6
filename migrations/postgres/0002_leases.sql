-- Who may act on what, until when, and in which epoch. A row is never deleted, so that an epoch
-- never comes twice.
CREATE TABLE mcp_orch.lease (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    holder     text COLLATE "C" NOT NULL,
    epoch      bigint           NOT NULL CHECK (epoch > 0),
    note       bytea            NOT NULL,
    expires_at timestamptz      NOT NULL,
    -- Makes the epoch part of a key: who holds the row with FOR KEY SHARE lets a renewal pass
    -- and a take-over wait.
    UNIQUE (name, epoch)
) WITH (fillfactor = 50);

-- Epochs go on from those that the sequencer had.
INSERT INTO mcp_orch.lease (name, holder, epoch, note, expires_at)
SELECT 'leader', '', epoch, '', '-infinity' FROM mcp_orch.sequencer WHERE epoch > 0;

GRANT SELECT, INSERT, UPDATE ON mcp_orch.lease TO mcp_orch_log;

-- The last epochs of these leases. Until the end of the transaction none is taken over.
CREATE FUNCTION mcp_orch.last_epochs(names text[]) RETURNS TABLE (name text, epoch bigint)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = mcp_orch, pg_temp AS $$
    SELECT lease.name, lease.epoch FROM mcp_orch.lease
    WHERE lease.name = ANY (names) ORDER BY lease.name FOR KEY SHARE
$$;

REVOKE ALL ON FUNCTION mcp_orch.last_epochs(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mcp_orch.last_epochs(text[]) TO mcp_orch_app;

INSERT INTO mcp_orch.schema_version (version) VALUES (2);
