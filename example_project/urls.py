"""URLs of the example project: a start page, the admin, this package's endpoints and page, an API, its schema."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularJSONAPIView

urlpatterns = [
    path("", TemplateView.as_view(template_name="start.html"), name="start"),
    path("", include("jwt_sessions.well_known")),
    path("admin/", admin.site.urls),
    path("api/", include("example_project.notes.urls")),
    path("api/schema/", SpectacularJSONAPIView.as_view(), name="schema"),
    path("auth/", include("jwt_sessions.urls")),
    path("devices/", include("jwt_sessions.devices.urls")),
]
