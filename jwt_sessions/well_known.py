"""``path("", include("jwt_sessions.well_known"))``: it has to stand at the root of the host (RFC 8414 §3)."""

from django.urls import path, re_path

from jwt_sessions.api.metadata import AuthorizationServerView

urlpatterns = [
    path(
        ".well-known/oauth-authorization-server",
        AuthorizationServerView.as_view(),
        name="oauth-authorization-server",
    ),
    re_path(
        # Whatever stands there, also a line feed: the answer is JSON.
        r"^\.well-known/oauth-authorization-server/(?P<issuer_path>[\s\S]*)$",
        AuthorizationServerView.as_view(),
        name="oauth-authorization-server",
    ),
]
