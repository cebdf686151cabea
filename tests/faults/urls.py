"""URLs of the example project, and the purge, so that it can be killed like all else."""

from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from example_project.urls import urlpatterns as example_urlpatterns


@csrf_exempt
def purge(request: HttpRequest) -> HttpResponse:
    call_command("purge_expired_tokens", batch_size=2, verbosity=0)
    return HttpResponse(status=204)


urlpatterns = [*example_urlpatterns, path("purge/", purge)]
