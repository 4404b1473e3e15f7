# A Consul server's own token: it registers itself and its neighbours, and reads services.
node_prefix "" {
  policy = "write"
}
service_prefix "" {
  policy = "read"
}
