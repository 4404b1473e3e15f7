# What one agent says of itself, in its own datacenter: one policy for each node, SITE and NODE filled in.
key "confsync/v1/report/SITE/NODE" {
  policy = "write"
}
