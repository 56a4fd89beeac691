"""Settings of the demo's site. The directories come from OXICACHE_DEMO_*, which the command sets.

Where they are not set, the usual ones are meant: `manage_cache` in a shell finds a demo that was started without flags.
"""

import os

from oxicache.demo.data import data_directory

DATA = data_directory(os.environ.get("OXICACHE_DEMO_DATA"))

# Written by data.py. One key for all workers, kept with the data: each worker drawing its own would part them.
SECRET_KEY = (DATA / "secret-key").read_text(encoding="ascii")

DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = [
    "oxicache.django",
    "django.contrib.humanize",
    "oxicache.demo.site.atlas",
    "oxicache.demo.site.features",
    "oxicache.demo.site.parts",
]
# One name for every demo of a user, so that a second run finds the first one's few bytes of shared memory again.
OXICACHE = {
    "NAMESPACE": "demo",
    "VERSION_WORDS": 2**16,
    "RUNTIME_DIR": os.environ.get("OXICACHE_DEMO_RUNTIME_DIR") or None,
}
# What is no row's: the searches. In place of Django's LocMemCache, and each worker sees what another one deletes.
CACHES = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "OPTIONS": {"MAX_ENTRIES": 2_000}}}
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "oxicache.demo.site.middleware.ContentSecurityPolicy",
    "oxicache.demo.site.middleware.CacheHeaders",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "oxicache.demo.site.features.visitors.Visitors",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # no table, and each worker can read it
# There are no accounts here, and so nothing of Django's auth.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
# What is not cached, or served stale, and why, is shown on the page.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"kept": {"class": "oxicache.demo.site.features.notes.Kept"}},
    "loggers": {
        "oxicache.responses": {"handlers": ["kept"]},
        "oxicache.grace": {"handlers": ["kept"]},
    },
}
ROOT_URLCONF = "oxicache.demo.site.urls"
WSGI_APPLICATION = "oxicache.demo.site.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "/static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "atlas.sqlite3",
        "OPTIONS": {"timeout": 20},  # seconds; another demo may be writing
    }
}
SILENCED_SYSTEM_CHECKS = ["oxicache.W005"]  # a distance is kept for ever, as it never changes
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
