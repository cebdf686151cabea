"""A plain project in which both libraries are installed; the environment chooses database, algorithm and strictness."""

from datetime import timedelta
from typing import Any

import environ

env = environ.Env()

SECRET_KEY = "only-for-benchmarks-" * 3
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "jwt_sessions",
]

DATABASES: dict[str, dict[str, Any]] = {"default": dict(env.db("BENCHMARK_DATABASE", default="sqlite://:memory:"))}
DATABASES["default"]["CONN_MAX_AGE"] = None
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "timeout": 60,
    }

# Redis, as where several processes share it; simplejwt uses no cache.
CACHES = {"default": env.cache("BENCHMARK_CACHE", default="rediscache://127.0.0.1:6379/8")}

# The server warns of every request that waits, and with more clients than threads some always do.
LOGGING = {"version": 1, "loggers": {"waitress.queue": {"level": "ERROR"}}}

SIMPLE_JWT = {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}

# Outside strict mode R(g) is not rotated while R(g-1) is honoured, so a chain of refreshes would mostly not rotate.
STRICT = {"REUSE_GRACE_PERIOD": timedelta(0), "LOST_RESPONSE_WINDOW": timedelta(0)}
JWT_SESSIONS: dict[str, Any] = {"ALGORITHM": env.str("BENCHMARK_ALGORITHM", default="ES256")}
if env.bool("BENCHMARK_STRICT", default=False):
    JWT_SESSIONS |= STRICT
