# Half of a replicator's token: what it reads at home (by ?dc=) and in its own datacenter.
key_prefix "confsync/v1/" {
  policy = "list"
}
