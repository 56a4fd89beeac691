"""The Django project of the demo: settings, urls, the WSGI application, and one app, atlas."""
