"""
How drf-spectacular describes the endpoints and errors of this package.

Its extensions are registered by being imported: the app imports them where ``drf_spectacular`` is installed.
"""
