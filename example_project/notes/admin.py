from django.contrib import admin

from example_project.notes.models import Note

admin.site.register(Note, list_display=("title", "owner", "created_at"), search_fields=("title", "owner__email"))
