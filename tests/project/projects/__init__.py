"""Projects in a hierarchy, as the first two source documents have them."""
