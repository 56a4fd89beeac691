"""The models of document 003, "Model-Based Invalidation"."""
