"""The network side: where configuration comes from, and where reports go.

Separate because everything here can hang, lie or vanish; nothing of it may block the host's work.
Why: two sources behind one port (Consul, a folder); py-consul for Consul's endpoints, over a
transport of our own, since nearly every fault of that library is in its transport.
"""
