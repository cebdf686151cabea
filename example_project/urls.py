"""URLs of the example project: a start page, the admin, this package's endpoints and a protected API."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="start.html"), name="start"),
    path("", include("jwt_sessions.well_known")),
    path("admin/", admin.site.urls),
    path("api/", include("example_project.notes.urls")),
    path("auth/", include("jwt_sessions.urls")),
]
