from django.urls import path

from example_project.notes.views import CallerView, MeView, NoteListView

urlpatterns = [
    path("caller/", CallerView.as_view(), name="caller"),
    path("me/", MeView.as_view(), name="me"),
    path("notes/", NoteListView.as_view(), name="note-list"),
]
