"""
System checks. Each mistake in ``JWT_SESSIONS`` has an id of its own; docs/checks.md lists them.

``E`` stops Django from starting; ``W`` is a warning, some of which only ``manage.py check --deploy`` shows.
"""

from jwt_sessions.checks.claims import check_size_of_claims
from jwt_sessions.checks.deployment import check_deployment
from jwt_sessions.checks.project import check_project
from jwt_sessions.checks.settings import check_settings

__all__ = ["check_deployment", "check_project", "check_settings", "check_size_of_claims"]
