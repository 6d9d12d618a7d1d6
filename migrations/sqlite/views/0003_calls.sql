-- A call costs one row with nothing beside it: ids as 16 bytes, the newest of a project next to
-- each other, and its entry of the audit log in the same row. A call is found by its id through
-- the log, which knows its positions.
DROP TABLE call;
CREATE TABLE call (
    project_id TEXT NOT NULL,
    -- Of the call's last event.
    position BIGINT NOT NULL,
    tenant BLOB NOT NULL,
    call_id BLOB NOT NULL,
    -- Its event, which has the body.
    event_id BLOB NOT NULL,
    -- When that event was recorded, where this row is also its entry of the audit log: by the
    -- key, with the outcome. NULL where that entry is in audit_entry.
    audit_time_us BIGINT,
    server_id BLOB NOT NULL,
    server_name TEXT NOT NULL,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    -- NULL for a user's own session.
    api_key_id BLOB,
    -- Empty while only the start is recorded.
    outcome TEXT NOT NULL,
    error_code BIGINT NOT NULL,
    started_at_us BIGINT NOT NULL,
    queue_us BIGINT NOT NULL,
    upstream_us BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    arguments_bytes BIGINT NOT NULL,
    result_bytes BIGINT NOT NULL,
    arguments_digest TEXT NOT NULL,
    result_digest TEXT NOT NULL,
    body_truncated BIGINT NOT NULL,
    body_masked BIGINT NOT NULL,
    client TEXT NOT NULL,
    mcp_session TEXT NOT NULL,
    PRIMARY KEY (project_id, position)
) WITHOUT ROWID;
-- The few that are not finished.
CREATE INDEX call_open ON call (call_id) WHERE outcome = '';
