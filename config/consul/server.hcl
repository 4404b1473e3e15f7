# Every Consul server of every site, as it is: /etc/consul.d/server.hcl.
# What differs from server to server is a second file beside it; README.md shows one.
server             = true
primary_datacenter = "bgo" # where ACLs are made; the other sites hold a copy

# Agents come by https; plain http answers this host alone.
client_addr = "127.0.0.1"
addresses {
  https = "0.0.0.0"
}
ports {
  http  = 8500
  https = 8501
  dns   = -1
}

acl {
  enabled                  = true
  default_policy           = "deny"
  down_policy              = "extend-cache" # a site cut off goes on with what it knows
  enable_token_replication = true           # tokens work at every site, and while it is cut off
  enable_token_persistence = true
  enable_key_list_policy   = true # a prefix that may not be read is a 403, not an empty answer
}

verify_incoming_rpc    = true
verify_outgoing        = true
verify_server_hostname = true # nobody with a client's certificate becomes a server

limits {
  http_max_conns_per_client = 1000 # an agent keeps up to 20; behind one NAT there are many agents
}
performance {
  raft_multiplier = 1
}
disable_update_check = true
