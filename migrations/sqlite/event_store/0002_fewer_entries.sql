-- Fewer index entries for each event: a call is most of the log, and each of its entries costs
-- every call.

-- Reads of one tenant: entries are in the order of positions. That tenant positions are dense
-- is the writer's rule, and `replay --verify` checks it.
CREATE INDEX event_tenant ON event (tenant_id);
DROP INDEX event_tenant_position;

-- Reads of some kinds of one tenant. Calls are found by their tenant and cost no entry here.
DROP INDEX event_tenant_kind;
CREATE INDEX event_tenant_kind ON event (tenant_id, kind) WHERE kind <> 'call';

PRAGMA user_version = 2;
