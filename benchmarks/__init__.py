"""Measurements of `jwt_sessions`, against djangorestframework-simplejwt where that library does the same job.

Every module of this package, also in a spawned child, finds Django set up; `isolation` chooses the database.
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()
