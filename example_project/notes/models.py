from django.conf import settings
from django.db import models


class Note(models.Model):
    """A short text that only its owner reads and writes, in the tenant for which it was written or in none."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notes")
    tenant = models.ForeignKey(
        "accounts.Tenant", on_delete=models.CASCADE, related_name="notes", null=True, blank=True, editable=False
    )
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return self.title
