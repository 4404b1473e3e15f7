# The other half: what it writes, in its own datacenter only. The policy is made valid there and nowhere else
# (-valid-datacenter), so that no replicator can ever write at home.
key_prefix "confsync/v1/desired/" {
  policy = "write"
}
key_prefix "confsync/v1/manifest/" {
  policy = "write"
}
key "confsync/v1/mirror" {
  policy = "write"
}
key "confsync/v1/mirror-ops" {
  policy = "write"
}
key_prefix "confsync/v1/changes/" {
  policy = "write"
}
key_prefix "confsync/v1/blobs/" {
  policy = "write"
}
key_prefix "confsync/v1/ops/" {
  policy = "write"
}
key_prefix "confsync/v1/conflicts" {
  policy = "write"
}
key_prefix "confsync/v1/copying" {
  policy = "write"
}
key "confsync/v1/lease/replicate" {
  policy = "write"
}
# The lease is a session, and a session belongs to the Consul node that was asked for it.
session_prefix "" {
  policy = "write"
}
