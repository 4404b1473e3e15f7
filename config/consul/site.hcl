# An agent that may act for its whole site, as [drivers.calico] does: it takes the site's lease, keeps the site's
# journal and report, and listens to whether all nodes still report. Valid in its own datacenter only.
key_prefix "confsync/v1/site/" {
  policy = "write"
}
key "confsync/v1/lease/site" {
  policy = "write"
}
key_prefix "confsync/v1/report/" {
  policy = "list"
}
# The lease is a session, and a session belongs to the Consul node that was asked for it.
session_prefix "" {
  policy = "write"
}
