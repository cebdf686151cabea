"""URLs of the example project: the demo page, the devices page, the admin, this package's endpoints, an API."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView

from example_project.notes.views import StartView

urlpatterns = [
    path("", StartView.as_view(), name="start"),
    path("", include("jwt_sessions.well_known")),
    path("admin/", admin.site.urls),
    path("api/", include("example_project.notes.urls")),
    path("api/schema/", SpectacularJSONAPIView.as_view(), name="schema"),
    path("auth/", include("jwt_sessions.urls")),
    path("devices/", include("jwt_sessions.devices.urls")),
]
