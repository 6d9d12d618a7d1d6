-- The log and what is written together with it. One process writes; see services/event-store.
--
-- Ids are stored as 16 bytes, times as microseconds since 1970, hashes as 32 bytes. The name
-- of a set over all tenants has an empty tenant_id.

PRAGMA application_id = 0x6d6f6576;
PRAGMA user_version = 1;

CREATE TABLE event (
    position        INTEGER PRIMARY KEY CHECK (position > 0),
    tenant_id       BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    tenant_position INTEGER NOT NULL CHECK (tenant_position > 0),
    kind            TEXT    NOT NULL,
    stream_id       TEXT    NOT NULL,
    version         INTEGER NOT NULL CHECK (version > 0),
    event_id        BLOB    NOT NULL CHECK (length(event_id) = 16),
    type            TEXT    NOT NULL,
    schema_version  INTEGER NOT NULL CHECK (schema_version > 0),
    payload         BLOB    NOT NULL,
    key_id          TEXT,
    actor_type      TEXT    NOT NULL,
    actor_id        TEXT    NOT NULL,
    causation_id    BLOB    CHECK (causation_id IS NULL OR length(causation_id) = 16),
    correlation_id  TEXT,
    occurred_at     INTEGER NOT NULL,
    recorded_at     INTEGER NOT NULL,
    leaf_hash       BLOB    NOT NULL CHECK (length(leaf_hash) = 32)
) STRICT;

-- One version of a stream exists once; also: the versions and events of a stream.
CREATE UNIQUE INDEX event_stream ON event (tenant_id, kind, stream_id, version);
-- One event id exists once in its tenant.
CREATE UNIQUE INDEX event_id ON event (tenant_id, event_id);
-- Dense per tenant.
CREATE UNIQUE INDEX event_tenant_position ON event (tenant_id, tenant_position);
-- Reads of some kinds, of one tenant and of all: each index ends with the position.
CREATE INDEX event_tenant_kind ON event (tenant_id, kind);
-- Most events are calls: they are found by their position, and cost no entry here.
CREATE INDEX event_kind ON event (kind) WHERE kind <> 'call';

CREATE TRIGGER event_is_not_changed BEFORE UPDATE ON event
BEGIN
    SELECT RAISE(ABORT, 'an event never changes');
END;

CREATE TRIGGER event_is_not_deleted BEFORE DELETE ON event
BEGIN
    SELECT RAISE(ABORT, 'an event is never deleted');
END;

-- No gap, no second event at a position, and no REPLACE, which deletes without the trigger above.
CREATE TRIGGER event_is_added_at_the_end BEFORE INSERT ON event
WHEN NEW.position <> (SELECT coalesce(max(position), 0) + 1 FROM event)
BEGIN
    SELECT RAISE(ABORT, 'an event is only added at the end');
END;

CREATE TABLE command_dedup (
    tenant_id     BLOB    NOT NULL,
    key           TEXT    NOT NULL,
    request_hash  BLOB    NOT NULL CHECK (length(request_hash) = 32),
    kind          TEXT    NOT NULL,
    stream_id     TEXT    NOT NULL,
    first_version INTEGER NOT NULL,
    last_version  INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX command_dedup_expiry ON command_dedup (expires_at);

CREATE TABLE reservation (
    tenant_id BLOB NOT NULL,
    set_name  TEXT NOT NULL,
    value     TEXT NOT NULL,
    holder    TEXT NOT NULL,
    PRIMARY KEY (tenant_id, set_name, value)
) STRICT, WITHOUT ROWID;

-- Bodies with a retention.
CREATE TABLE call_body (
    position   INTEGER PRIMARY KEY REFERENCES event (position),
    tenant_id  BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    bytes      BLOB    NOT NULL
) STRICT;

CREATE INDEX call_body_expiry ON call_body (expires_at);

-- Bodies that stay until they are destroyed by name.
CREATE TABLE kept_body (
    position  INTEGER PRIMARY KEY REFERENCES event (position),
    tenant_id BLOB NOT NULL,
    bytes     BLOB NOT NULL
) STRICT;
