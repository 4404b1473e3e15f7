# An agent: reads what concerns its site, and writes nothing. Its report is one more policy, report.hcl.
# "list" is "read" and, with acl.enable_key_list_policy, also reading whole prefixes.
key_prefix "confsync/v1/desired/" {
  policy = "list"
}
key_prefix "confsync/v1/manifest/" {
  policy = "list"
}
key "confsync/v1/head" {
  policy = "read"
}
key "confsync/v1/mirror" {
  policy = "read"
}
key_prefix "confsync/v1/changes/" {
  policy = "list"
}
key_prefix "confsync/v1/blobs/" {
  policy = "list"
}
key_prefix "confsync/v1/ops/" {
  policy = "list"
}
key_prefix "confsync/v1/conflicts" {
  policy = "list"
}
