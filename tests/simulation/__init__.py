"""
Months of honest clients and thieves in minutes, with a moved clock.

``make simulation`` lives through thousands of sessions, ``tests/test_simulation.py`` through a few.
"""
