# The store of secrets of the compose file: one node that keeps its data over restarts and unseals
# itself with a key of its own. Where secrets must survive the theft of the whole machine, use a
# Vault that unseals from elsewhere.

storage "raft" {
  path    = "/openbao/file"
  node_id = "only"
  # Room for the largest secret, which is stored as text.
  max_entry_size = 8388608
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  # Reached over the network of the compose file alone.
  tls_disable = true
}

seal "static" {
  current_key_id = "first"
  current_key    = "file:///keys/unseal.key"
}

api_addr      = "http://127.0.0.1:8200"
cluster_addr  = "http://127.0.0.1:8201"
disable_mlock = true
