# `confsync status` over all sites: reads everything of ours, writes nothing.
key_prefix "confsync/v1/" {
  policy = "list"
}
