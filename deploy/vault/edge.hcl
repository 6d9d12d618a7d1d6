# What an edge may: read the one key that all edges sign their states with. The control-plane
# makes it; no secret of a tenant is in reach.

path "secret/data/mcp-orch/00000000-0000-0000-0000-000000000000/edge/state-key" {
  capabilities = ["read"]
}

# Only with transit: the key of what belongs to no tenant.
path "transit/decrypt/mcp-orch-00000000-0000-0000-0000-000000000000" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
