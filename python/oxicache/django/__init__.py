"""The Django half of oxicache: put `"oxicache.django"` into INSTALLED_APPS. What it sets up is in apps.py."""
