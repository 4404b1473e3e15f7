"""The machine side: files, child processes, netlink, the journal, and what a host knows of itself.

Why: everything that blocks, forks or must survive a power cut is here, behind calls that either
happened or raised; drivers use `files`, `process` and `netlink` and nothing else of it.
"""
