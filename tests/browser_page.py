"""The URLs of the example project and a page with the browser module, under the strictest policy that will do."""

from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

PAGE = Template(
    "<!doctype html><html lang='en'><title>page</title><link rel='icon' href='data:,'>"
    "{% load jwt_sessions %}{% jwt_sessions_script %}<p>A page</p></html>"
)


def page(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(PAGE.render(RequestContext(request)))
    response["Content-Security-Policy"] = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:"
    return response


urlpatterns = [
    path("page/", page),
    path("", include("example_project.urls")),
]
