"""A library: rows with relations of every kind, for querysets that join them."""
