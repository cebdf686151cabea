from django.urls import path

from example_project.notes.views import CallerView, ClearNotesView, MeView, NoteListView, TenantListView

urlpatterns = [
    path("caller/", CallerView.as_view(), name="caller"),
    path("me/", MeView.as_view(), name="me"),
    path("notes/", NoteListView.as_view(), name="note-list"),
    path("notes/clear/", ClearNotesView.as_view(), name="note-clear"),
    path("tenants/", TenantListView.as_view(), name="tenant-list"),
]
