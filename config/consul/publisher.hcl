# Whoever pushes: reads everything of ours, writes what a push writes and what operators set.
key_prefix "confsync/v1/" {
  policy = "list"
}
key_prefix "confsync/v1/desired/" {
  policy = "write"
}
key_prefix "confsync/v1/manifest/" {
  policy = "write"
}
key "confsync/v1/head" {
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
# Says that home is elsewhere from now on.
key "confsync/v1/moved" {
  policy = "write"
}
