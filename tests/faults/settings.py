"""The example project as this suite serves it: with a cache in Redis, and a count of its steps."""

from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import CACHES, DATABASES, INSTALLED_APPS, JWT_SESSIONS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.steps.StepsConfig"]
MIDDLEWARE = ["tests.faults.steps.StepsMiddleware", *MIDDLEWARE]
ROOT_URLCONF = "tests.faults.urls"

# Connections that outlive a request, and no question before each whether they still live: the harder case.
DATABASES["default"]["CONN_MAX_AGE"] = 600
# Without a limit of time a Redis that does not answer holds up every request for ever.
CACHES["default"]["OPTIONS"] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}

# Each killed sign-in counts as a failed one. This suite kills more of them than an honest user has in a minute.
JWT_SESSIONS = {
    **JWT_SESSIONS,
    "SESSION_CHECK": "cache",
    "ACTIVITY_RESOLUTION": timedelta(seconds=2),
    "LOGIN_THROTTLE": "10000/min",
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
