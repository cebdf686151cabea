"""Tokens as values: making and reading them. Nothing here knows of a database or a request."""
