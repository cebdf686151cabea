"""The URLs of the example project, a page with the browser module, and what happens on the server beside it."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from example_project.accounts.models import User
from jwt_sessions import sessions
from jwt_sessions.permissions import RequireRecentLogin
from tests.factories import PASSWORD

PAGE = Template(
    "<!doctype html><html lang='en'><title>page</title><link rel='icon' href='data:,'>"
    "{% load jwt_sessions %}{% jwt_sessions_script warn_before=warn_before %}<p>A page</p></html>"
)


def page(request: HttpRequest) -> HttpResponse:
    """The page, under the strictest policy that will do. ``?warn_before=`` in seconds."""
    warn_before = int(request.GET.get("warn_before", 60))
    response = HttpResponse(PAGE.render(RequestContext(request, {"warn_before": warn_before})))
    response["Content-Security-Policy"] = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:"
    return response


class RecentView(APIView):
    """What wants the password of the last three seconds."""

    permission_classes = [RequireRecentLogin(timedelta(seconds=3))]

    def get(self, request: Request) -> Response:
        return Response({})


@csrf_exempt
def set_password(request: HttpRequest) -> HttpResponse:
    """Set the password, which stays the same word: its hash has a new salt, and that is a change."""
    user = User.objects.get(email=request.POST["email"])
    user.set_password(PASSWORD)
    user.save()
    return HttpResponse(status=204)


@csrf_exempt
def require_reauthentication(request: HttpRequest) -> HttpResponse:
    sessions.require_reauthentication(User.objects.get(email=request.POST["email"]))
    return HttpResponse(status=204)


urlpatterns = [
    path("page/", page),
    path("recent/", RecentView.as_view()),
    path("server/set-password/", set_password),
    path("server/require-reauthentication/", require_reauthentication),
    path("", include("example_project.urls")),
]
