from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

from example_project.accounts.models import Membership, Tenant, User


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who is a member of what."""

    model = Membership
    autocomplete_fields = ("user", "tenant")
    readonly_fields = ("invited_at",)
    extra = 0


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Tenants and their members."""

    list_display = ("name", "id")
    search_fields = ("name", "id")
    inlines = (MembershipInline,)


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """Django's user admin, for a user model without a user name."""

    list_display = ("email", "name", "is_active", "is_staff", "last_login")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "password", "name")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)
