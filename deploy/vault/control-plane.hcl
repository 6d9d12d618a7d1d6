# What the control-plane may: write, read, list and destroy all secrets of mcp-orch. It may not
# remove the metadata of a secret: that would let a version number be used twice.

path "secret/data/mcp-orch/*" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/mcp-orch/*" {
  capabilities = ["create", "read", "update", "list"]
}

path "secret/destroy/mcp-orch/*" {
  capabilities = ["create", "update"]
}

# Only with transit: seal and open, with a key that the first value of a tenant makes.
path "transit/encrypt/mcp-orch-*" {
  capabilities = ["create", "update"]
}

path "transit/decrypt/mcp-orch-*" {
  capabilities = ["update"]
}

# Only with transit: erase a tenant by deleting its key.
path "transit/keys/mcp-orch-*" {
  capabilities = ["update", "delete"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
