"""The bench: what a change costs here, beside the next best thing and beside the floor.

Separate from the tests: it prints figures and asserts none. `scripts/bench` runs it.
"""
