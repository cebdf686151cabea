"""
A session in a Python program: ``SessionAuth`` is the ``auth=`` of httpx, httpx2 and requests.

This package imports neither Django nor an HTTP library, and nothing else of ``jwt_sessions``.
"""

from jwt_sessions.client.auth import SessionAuth
from jwt_sessions.client.errors import SessionError
from jwt_sessions.client.stores import FileStore, MemoryStore, Store

__all__ = ["FileStore", "MemoryStore", "SessionAuth", "SessionError", "Store"]
