"""
Faults: what is left when a process, a database, a disk or a cache fails in the middle of something.

A suite of its own, run by ``make faults``: it starts servers of its own, kills them and takes minutes.
"""
