"""
The verdict: what is read of a session or a credential, and whether it lives. Every door asks here and nowhere else.

``session`` and ``credential`` read in one query and judge; ``rotation`` tells which refresh tokens are honoured;
``password`` tells whether the password is still the same, ``users`` who is nobody; ``cache`` remembers verdicts for
``SESSION_CHECK="cache"``.
"""
