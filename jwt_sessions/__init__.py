"""Server-side sessions for Django REST APIs that use JWTs."""

__version__ = "0.1.0"
