"""Cached fragments of templates, whatever language these are in: whose they are, their keys, what they may look at.

The tags are in templatetags/cache_tags.py and jinja.py. From above to below: rendering.py finds or renders; guarding.py
notes what a block looks at; options.py reads what a tag was told; keying.py spells keys. What else tags show:
widgets.py, showing.py.
"""

from oxicache.django.fragments.keying import Fragment, default_alias
from oxicache.django.fragments.rendering import Block, render

__all__ = ["Block", "Fragment", "default_alias", "render"]
