"""Settings of the demo's site. The data directory comes from OXICACHE_DEMO_DATA, which the command sets."""

import os
from pathlib import Path

DATA = Path(os.environ["OXICACHE_DEMO_DATA"])

# Written by data.py. One key for all workers, kept with the data: each worker drawing its own would part them.
SECRET_KEY = (DATA / "secret-key").read_text(encoding="ascii")

DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["django.contrib.humanize", "oxicache.demo.site.atlas"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "oxicache.demo.site.middleware.ContentSecurityPolicy",
    "oxicache.demo.site.middleware.CacheHeaders",
    "django.middleware.common.CommonMiddleware",
]
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
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
