# The token with which another datacenter fetches policies and tokens from the primary one.
# Tokens are secrets, and Consul gives secrets only to whoever may write them.
acl = "write"
operator = "write"
service_prefix "" {
  policy = "read"
}
