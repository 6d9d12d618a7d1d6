-- Read models. Every row is the result of folding the log up to the checkpoint's position: the
-- file may be deleted at any time and is rebuilt. Times are microseconds since the epoch.

CREATE TABLE checkpoint (
    name TEXT PRIMARY KEY NOT NULL,
    -- The last event that every table here has taken in.
    position BIGINT NOT NULL,
    -- The last configuration event up to that position.
    configuration BIGINT NOT NULL,
    -- The id of the event at the position, by which another log is noticed.
    event_id TEXT NOT NULL
);

CREATE TABLE organization (
    tenant TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE organization_member (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    joined_position BIGINT NOT NULL,
    PRIMARY KEY (tenant, user_id)
);
CREATE INDEX organization_member_by_user ON organization_member (user_id, joined_position);

CREATE TABLE user_account (
    user_id TEXT PRIMARY KEY NOT NULL,
    email TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    credential_path TEXT NOT NULL,
    credential_version BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE project (
    project_id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    audit_mode TEXT NOT NULL,
    naming TEXT NOT NULL,
    unified_enabled BIGINT NOT NULL,
    body_retention_days BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE member (
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX member_by_user ON member (user_id, tenant, project_id);

CREATE TABLE server (
    server_id TEXT PRIMARY KEY NOT NULL,
    project_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The configuration in its stored form, and the version of that form.
    config BLOB NOT NULL,
    config_schema BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX server_by_project ON server (project_id, name);

CREATE TABLE disabled_tool (
    server_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    PRIMARY KEY (server_id, tool)
);

CREATE TABLE connection (
    server_id TEXT PRIMARY KEY NOT NULL,
    project_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    response_time_ms BIGINT NOT NULL,
    setup_time_ms BIGINT NOT NULL,
    revision TEXT NOT NULL,
    observed_at_us BIGINT NOT NULL,
    catalogue_hash TEXT NOT NULL,
    -- The event whose kept body is the catalogue; empty before the first.
    catalogue_event TEXT NOT NULL,
    tools BIGINT NOT NULL,
    resources BIGINT NOT NULL,
    resource_templates BIGINT NOT NULL,
    prompts BIGINT NOT NULL
);

CREATE TABLE api_key (
    key_id TEXT PRIMARY KEY NOT NULL,
    project_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    suffix TEXT NOT NULL,
    role TEXT NOT NULL,
    creator TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    -- NULL never expires.
    expires_at_us BIGINT,
    revoked BIGINT NOT NULL
);
CREATE INDEX api_key_by_project ON api_key (project_id, key_id);

CREATE TABLE call (
    call_id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    project_id TEXT NOT NULL,
    -- Of the call's last event.
    position BIGINT NOT NULL,
    -- Its event, which has the body.
    event_id TEXT NOT NULL,
    server_id TEXT NOT NULL,
    server_name TEXT NOT NULL,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    -- Empty for a user's own session.
    api_key_id TEXT NOT NULL,
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
    mcp_session TEXT NOT NULL
);
CREATE INDEX call_by_project ON call (project_id, position);
CREATE INDEX call_open ON call (position) WHERE outcome = '';

CREATE TABLE audit_entry (
    position INTEGER PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    -- Empty for what belongs to no project.
    project_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    time_us BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    outcome TEXT NOT NULL
);
CREATE INDEX audit_entry_by_project ON audit_entry (tenant, project_id, position);
-- Few among the many calls: which servers there ever were.
CREATE INDEX audit_entry_registered ON audit_entry (position) WHERE action = 'server.registered';
