"""The four endpoints of document 002: `cache-stats/`, `cache-health/`, `cache-clear/`, `cache-reset-stats/`.

`path("api/core/", include("oxicache.django.endpoints.urls"))` for a session's user, `...endpoints.rest_urls` for what
Django REST framework (extra `drf`) authenticates. What they answer is in answers.py, whatever asks.
"""
