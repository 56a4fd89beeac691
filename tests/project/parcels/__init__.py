"""A catalogue of things for sale: models of every kind that a row can be of."""
