"""The same trivial view behind either library and behind none, and the token endpoints of both."""

from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.views import TokenRefreshView

from jwt_sessions.authentication import JWTSessionAuthentication


class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.get_username()})


urlpatterns = [
    path("open/whoami/", WhoAmI.as_view(authentication_classes=[], permission_classes=[])),
    path("ours/whoami/", WhoAmI.as_view(authentication_classes=[JWTSessionAuthentication])),
    path("ours/auth/", include("jwt_sessions.urls")),
    path("simplejwt/whoami/", WhoAmI.as_view(authentication_classes=[JWTAuthentication])),
    path("simplejwt/refresh/", TokenRefreshView.as_view(authentication_classes=[])),
]
