"""The small Django project that the tests use."""
