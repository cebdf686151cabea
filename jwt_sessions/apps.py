"""The application, as ``INSTALLED_APPS`` names it."""

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class JWTSessionsConfig(AppConfig):
    """Registers checks and receivers, and where drf-spectacular is installed how it describes this app."""

    name = "jwt_sessions"
    verbose_name = _("JWT sessions")
    # Every key of this app is declared, so that a project's DEFAULT_AUTO_FIELD never asks for a migration.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from jwt_sessions import checks, receivers  # noqa: F401

        if apps.is_installed("drf_spectacular"):
            from jwt_sessions.openapi import extensions  # noqa: F401
