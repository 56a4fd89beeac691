"""How the entries of each backend are found, deleted and tagged: one module for each kind, all of one role (role.py).

Which of them an alias has: ../enumeration.py.
"""
