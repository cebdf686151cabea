from django.urls import path

from example_project.notes.views import MeView, NoteListView

urlpatterns = [
    path("me/", MeView.as_view(), name="me"),
    path("notes/", NoteListView.as_view(), name="note-list"),
]
