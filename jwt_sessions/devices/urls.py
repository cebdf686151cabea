"""``path("devices/", include("jwt_sessions.devices.urls"))``"""

from django.urls import path

from jwt_sessions.devices.changes import EndAllView, EndOthersView, EndView, RenameView
from jwt_sessions.devices.views import ListView

app_name = "jwt_sessions_devices"

urlpatterns = [
    path("", ListView.as_view(), name="list"),
    path("end-others/", EndOthersView.as_view(), name="end-others"),
    path("end-all/", EndAllView.as_view(), name="end-all"),
    path("<uuid:session_id>/end/", EndView.as_view(), name="end"),
    path("<uuid:session_id>/rename/", RenameView.as_view(), name="rename"),
]
