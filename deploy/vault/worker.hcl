# What a worker may: resolve the launch secrets of servers. It writes and lists nothing, and it
# reads no key of ours and nothing of a person.

path "secret/data/mcp-orch/+/servers/+/launch" {
  capabilities = ["read"]
}

# Only with transit.
path "transit/decrypt/mcp-orch-*" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
