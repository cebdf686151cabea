"""The same trivial view behind either library and behind none, and the token endpoints of both."""

from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from rest_framework_simplejwt.views import TokenRefreshView

from jwt_sessions.authentication import JWTSessionAuthentication, JWTStatelessAuthentication


class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.get_username()})


class Service(APIView):
    """A view that needs no row of the user: what both libraries know of it stands in the token."""

    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.pk})


urlpatterns = [
    path("open/whoami/", WhoAmI.as_view(authentication_classes=[], permission_classes=[])),
    path("ours/whoami/", WhoAmI.as_view(authentication_classes=[JWTSessionAuthentication])),
    path("ours/stateless/", Service.as_view(authentication_classes=[JWTStatelessAuthentication])),
    path("ours/auth/", include("jwt_sessions.urls")),
    path("simplejwt/whoami/", WhoAmI.as_view(authentication_classes=[JWTAuthentication])),
    path("simplejwt/stateless/", Service.as_view(authentication_classes=[JWTStatelessUserAuthentication])),
    path("simplejwt/refresh/", TokenRefreshView.as_view(authentication_classes=[])),
]
