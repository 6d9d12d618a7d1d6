-- The log and what is written together with it, shared by every control-plane. See
-- services/event-store; the roles and rules are explained in migrations/README.md.
--
-- Times are microseconds since 1970, hashes are 32 bytes. Texts are compared byte by byte.

-- Who appends for one tenant at a time, and who reads all tenants and gives positions. Both own
-- nothing. They get their passwords, or another way to log in, from the deployment.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['mcp_orch_app', 'mcp_orch_log'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT NOBYPASSRLS', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA mcp_orch FROM PUBLIC;
GRANT USAGE ON SCHEMA mcp_orch TO mcp_orch_app, mcp_orch_log;

CREATE TABLE mcp_orch.schema_version (
    version     integer     NOT NULL PRIMARY KEY,
    migrated_at timestamptz NOT NULL DEFAULT now()
);

-- The tenant of the transaction; none where it was not set.
CREATE FUNCTION mcp_orch.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('mcp_orch.tenant', true), '')::uuid;

-- The row of a stream is its lock, and has its version.
CREATE TABLE mcp_orch.stream (
    tenant_id   uuid                NOT NULL,
    kind        text    COLLATE "C" NOT NULL,
    stream_id   text    COLLATE "C" NOT NULL,
    version     bigint              NOT NULL CHECK (version >= 0),
    archived_at bigint,
    -- Tells the transaction that inserted the row that it did.
    born        xid8                NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (tenant_id, kind, stream_id)
) PARTITION BY HASH (tenant_id);

-- What happened. Where it lies in the log, when it was recorded, and its digest, are given
-- later: they are in the log.
CREATE TABLE mcp_orch.event (
    tenant_id      uuid                NOT NULL,
    kind           text    COLLATE "C" NOT NULL,
    stream_id      text    COLLATE "C" NOT NULL,
    version        bigint              NOT NULL CHECK (version > 0),
    event_id       uuid                NOT NULL,
    type           text    COLLATE "C" NOT NULL,
    schema_version bigint              NOT NULL CHECK (schema_version > 0),
    payload        bytea               NOT NULL,
    key_id         text    COLLATE "C",
    actor_type     text    COLLATE "C" NOT NULL,
    actor_id       text    COLLATE "C" NOT NULL,
    causation_id   uuid,
    correlation_id text    COLLATE "C",
    occurred_at    bigint              NOT NULL,
    PRIMARY KEY (tenant_id, kind, stream_id, version),
    UNIQUE (tenant_id, event_id)
) PARTITION BY HASH (tenant_id);

-- Bodies; without an end they stay until they are destroyed by name.
CREATE TABLE mcp_orch.call_body (
    tenant_id  uuid   NOT NULL,
    event_id   uuid   NOT NULL,
    expires_at bigint,
    bytes      bytea  NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
) PARTITION BY HASH (tenant_id);

CREATE INDEX call_body_expiry ON mcp_orch.call_body (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE mcp_orch.command_dedup (
    tenant_id     uuid             NOT NULL,
    key           text COLLATE "C" NOT NULL,
    request_hash  bytea            NOT NULL CHECK (length(request_hash) = 32),
    kind          text COLLATE "C" NOT NULL,
    stream_id     text COLLATE "C" NOT NULL,
    first_version bigint           NOT NULL,
    last_version  bigint           NOT NULL,
    expires_at    bigint           NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

CREATE INDEX command_dedup_expiry ON mcp_orch.command_dedup (expires_at);

-- A set over all tenants has no tenant.
CREATE TABLE mcp_orch.reservation (
    tenant_id uuid,
    set_name  text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    holder    text COLLATE "C" NOT NULL,
    UNIQUE NULLS NOT DISTINCT (tenant_id, set_name, value)
);

-- Events without a position. The number is drawn under the lock of the stream, so within a
-- stream it follows the version. It has gaps; positions have not.
CREATE TABLE mcp_orch.outbox (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid             NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    version   bigint           NOT NULL,
    bytes     integer          NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

-- The order of everything. Positions are global and have no gaps; tenant positions are dense
-- per tenant. One sequencer writes.
CREATE TABLE mcp_orch.log (
    position        bigint           NOT NULL PRIMARY KEY CHECK (position > 0),
    tenant_id       uuid             NOT NULL,
    tenant_position bigint           NOT NULL CHECK (tenant_position > 0),
    kind            text COLLATE "C" NOT NULL,
    stream_id       text COLLATE "C" NOT NULL,
    version         bigint           NOT NULL,
    -- Of the payload.
    bytes           integer          NOT NULL,
    recorded_at     bigint           NOT NULL,
    leaf_hash       bytea            NOT NULL CHECK (length(leaf_hash) = 32),
    UNIQUE (tenant_id, kind, stream_id, version)
);

-- Reads of one tenant. That tenant positions are dense is the sequencer's rule.
CREATE INDEX log_tenant ON mcp_orch.log (tenant_id, position);
-- Reads of some kinds. Most events are calls: they are found by their tenant or position, and
-- cost no entry here.
CREATE INDEX log_kind ON mcp_orch.log (kind, position) WHERE kind <> 'call';
CREATE INDEX log_tenant_kind ON mcp_orch.log (tenant_id, kind, position) WHERE kind <> 'call';

-- The last tenant position of each tenant.
CREATE TABLE mcp_orch.tenant_head (
    tenant_id uuid   NOT NULL PRIMARY KEY,
    position  bigint NOT NULL CHECK (position > 0)
) WITH (fillfactor = 50);

-- The one row says where the log ends, up to where it was published, and in whose epoch.
CREATE TABLE mcp_orch.sequencer (
    one                boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one),
    epoch              bigint  NOT NULL,
    next_position      bigint  NOT NULL CHECK (next_position > 0),
    recorded_at        bigint  NOT NULL,
    published_position bigint  NOT NULL CHECK (published_position < next_position)
) WITH (fillfactor = 50);

INSERT INTO mcp_orch.sequencer (epoch, next_position, recorded_at, published_position)
VALUES (0, 1, 0, 0);

-- Partitions. Nobody but the owner may name one, so that no rule of the whole is passed by.
DO $$
DECLARE
    whole text;
    part  text;
BEGIN
    FOREACH whole IN ARRAY ARRAY['stream', 'event', 'call_body'] LOOP
        FOR number IN 0..15 LOOP
            part := format('%s_%s', whole, lpad(number::text, 2, '0'));
            EXECUTE format('CREATE TABLE mcp_orch.%I PARTITION OF mcp_orch.%I
                FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, whole, number);
            EXECUTE format('ALTER TABLE mcp_orch.%I ENABLE ROW LEVEL SECURITY,
                FORCE ROW LEVEL SECURITY', part);
        END LOOP;
    END LOOP;
END $$;

-- What happened is never changed.
CREATE FUNCTION mcp_orch.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an event never changes and is never deleted' USING ERRCODE = 'P0001';
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT relname FROM pg_class
        WHERE relnamespace = 'mcp_orch'::regnamespace AND relkind IN ('r', 'p')
            AND (relname IN ('event', 'log') OR relname ~ '^event_[0-9]+$')
    LOOP
        -- The trigger for rows of the whole is one of each partition already.
        IF name IN ('event', 'log') THEN
            EXECUTE format('CREATE TRIGGER %I_is_not_changed
                BEFORE UPDATE OR DELETE ON mcp_orch.%I
                FOR EACH ROW EXECUTE FUNCTION mcp_orch.refuse_change()', name, name);
        END IF;
        EXECUTE format('CREATE TRIGGER %I_is_not_emptied BEFORE TRUNCATE ON mcp_orch.%I
            FOR EACH STATEMENT EXECUTE FUNCTION mcp_orch.refuse_change()', name, name);
    END LOOP;
END $$;

-- Each row is for its tenant only, and for who reads all tenants; forced on the owner too. A
-- transaction without a tenant sees nothing.
DO $$
DECLARE
    name text;
    mine text;
BEGIN
    FOREACH name IN ARRAY ARRAY['stream', 'event', 'call_body', 'command_dedup', 'reservation',
        'outbox', 'log', 'tenant_head']
    LOOP
        mine := 'tenant_id = (SELECT mcp_orch.current_tenant())';
        IF name = 'reservation' THEN
            mine := mine || ' OR (tenant_id IS NULL
                AND (SELECT mcp_orch.current_tenant()) IS NOT NULL)';
        END IF;
        EXECUTE format('ALTER TABLE mcp_orch.%I ENABLE ROW LEVEL SECURITY,
            FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_tenant ON mcp_orch.%I
            USING (%s) WITH CHECK (%s)', name, mine, mine);
        EXECUTE format('CREATE POLICY of_all_tenants ON mcp_orch.%I TO mcp_orch_log
            USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

-- Appends to new streams in one statement, as most appends are: those of calls. Refused as a
-- whole where one of the streams is there; the caller then looks closer.
CREATE FUNCTION mcp_orch.append_new(
    tenant uuid, stream_kinds text[], stream_ids text[], stream_versions bigint[],
    kinds text[], ids text[], versions bigint[], event_ids uuid[], types text[],
    schema_versions bigint[], payloads bytea[], actor_types text[], actor_ids text[],
    causation_ids uuid[], correlation_ids text[], occurred_ats bigint[],
    body_ids uuid[], body_ends bigint[], bodies bytea[]
) RETURNS void LANGUAGE plpgsql SET search_path = mcp_orch, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    -- Until the end of the transaction, which the statement is.
    PERFORM set_config('mcp_orch.tenant', tenant::text, true);
    INSERT INTO stream (tenant_id, kind, stream_id, version)
    SELECT tenant, s.kind, s.id, s.version
    FROM unnest(stream_kinds, stream_ids, stream_versions) WITH ORDINALITY
        AS s (kind, id, version, number) ORDER BY s.number
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added <> cardinality(stream_ids) THEN
        RAISE EXCEPTION 'a stream is not new' USING ERRCODE = 'MO001';
    END IF;
    INSERT INTO event (tenant_id, kind, stream_id, version, event_id, type, schema_version,
        payload, actor_type, actor_id, causation_id, correlation_id, occurred_at)
    SELECT tenant, n.* FROM unnest(kinds, ids, versions, event_ids, types, schema_versions,
        payloads, actor_types, actor_ids, causation_ids, correlation_ids, occurred_ats) AS n;
    INSERT INTO outbox (tenant_id, kind, stream_id, version, bytes)
    SELECT tenant, n.kind, n.id, n.version, octet_length(n.payload)
    FROM unnest(kinds, ids, versions, payloads) WITH ORDINALITY
        AS n (kind, id, version, payload, number) ORDER BY n.number;
    IF cardinality(body_ids) > 0 THEN
        INSERT INTO call_body (tenant_id, event_id, expires_at, bytes)
        SELECT tenant, b.* FROM unnest(body_ids, body_ends, bodies) AS b;
    END IF;
END $$;

GRANT SELECT ON mcp_orch.schema_version TO mcp_orch_app, mcp_orch_log;

GRANT SELECT, INSERT, UPDATE (version) ON mcp_orch.stream TO mcp_orch_app;
GRANT SELECT, INSERT ON mcp_orch.event TO mcp_orch_app;
GRANT SELECT, INSERT, DELETE ON mcp_orch.call_body TO mcp_orch_app;
GRANT SELECT, INSERT, UPDATE ON mcp_orch.command_dedup TO mcp_orch_app;
GRANT SELECT, INSERT, DELETE, UPDATE (holder) ON mcp_orch.reservation TO mcp_orch_app;
GRANT INSERT ON mcp_orch.outbox TO mcp_orch_app;
GRANT SELECT ON mcp_orch.log TO mcp_orch_app;
GRANT SELECT ON mcp_orch.sequencer TO mcp_orch_app;

GRANT SELECT ON mcp_orch.event, mcp_orch.reservation TO mcp_orch_log;
GRANT SELECT, DELETE ON mcp_orch.call_body, mcp_orch.command_dedup, mcp_orch.outbox
    TO mcp_orch_log;
GRANT SELECT, INSERT ON mcp_orch.log TO mcp_orch_log;
GRANT SELECT, INSERT, UPDATE ON mcp_orch.tenant_head TO mcp_orch_log;
GRANT SELECT, UPDATE ON mcp_orch.sequencer TO mcp_orch_log;

INSERT INTO mcp_orch.schema_version (version) VALUES (1);
