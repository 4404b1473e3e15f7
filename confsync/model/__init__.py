"""Values and decisions: pure functions over frozen values, without clock, disk, network or log.

Why: what can be decided without touching anything is decided here, so that a plan can be read,
compared and tested before the first effect.
"""
