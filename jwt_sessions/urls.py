"""``path("auth/", include("jwt_sessions.urls"))``"""

from django.urls import path

from jwt_sessions.api.credentials import CredentialDetailView, CredentialListView
from jwt_sessions.api.introspection import IntrospectView, RevokedView
from jwt_sessions.api.metadata import JWKSView
from jwt_sessions.api.own_sessions import EndAllView, EndOthersView, SessionDetailView, SessionListView
from jwt_sessions.api.policies import PolicyDetailView, PolicyListView
from jwt_sessions.api.tokens import (
    LoginView,
    LogoutView,
    ReauthenticateView,
    RenewView,
    RevokeView,
    TokenView,
)

app_name = "jwt_sessions"

urlpatterns = [
    path("login/", LoginView.as_view(), name="login"),
    path("token/", TokenView.as_view(), name="token"),
    path("renew/", RenewView.as_view(), name="renew"),
    path("reauthenticate/", ReauthenticateView.as_view(), name="reauthenticate"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("sessions/", SessionListView.as_view(), name="session-list"),
    path("sessions/end-others/", EndOthersView.as_view(), name="session-end-others"),
    path("sessions/end-all/", EndAllView.as_view(), name="session-end-all"),
    path("sessions/<str:session_id>/", SessionDetailView.as_view(), name="session-detail"),
    path("revoke/", RevokeView.as_view(), name="revoke"),
    path("introspect/", IntrospectView.as_view(), name="introspect"),
    path("revoked.json", RevokedView.as_view(), name="revoked"),
    path("credentials/", CredentialListView.as_view(), name="credential-list"),
    path("credentials/<str:client_id>/", CredentialDetailView.as_view(), name="credential-detail"),
    path("policies/", PolicyListView.as_view(), name="policy-list"),
    path("policies/<str:pk>/", PolicyDetailView.as_view(), name="policy-detail"),
    path("jwks.json", JWKSView.as_view(), name="jwks"),
]
