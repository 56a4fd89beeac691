"""The tables of the atlas."""
