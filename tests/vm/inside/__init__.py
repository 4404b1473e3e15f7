"""Tests that run in the guest: pytest there runs them, pytest here asks for each and reports it.

A test module of this folder is an ordinary one, with the fixtures of tests/conftest.py and real
device-mapper under it. All of them share one guest, as its root; `disks` makes them blank.
"""
