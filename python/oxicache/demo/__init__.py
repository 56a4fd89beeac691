"""`python -m oxicache.demo`: a small Django site on real geography, run without and with the cache, then served.

Arguments and the order of events are in __main__.py, the database in data.py, the work that is timed in jobs.py,
the comparison in comparison.py, gunicorn in server.py, the edits that one worker saves and the other reads in
edits.py, changes of Django's cache in changes.py (both over connections.py), and the Django project itself in site/.
"""
