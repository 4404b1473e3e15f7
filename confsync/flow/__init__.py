"""The only rooms where it is decided what happens next.

Why: everything that changes the host is called from `transact` or `recover`, so that the argument
about crashes fits into two modules. Drivers are known as the `Driver` protocol alone.
"""
