"""
Hostile inputs for every parser and every endpoint, in one process.

``make fuzz`` runs all of it, guided by coverage; ``tests/test_fuzz.py`` a few inputs of each target.
"""
