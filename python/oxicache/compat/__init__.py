"""The dialects of the source documents: other names and argument orders, no behaviour. Nothing imports compat."""
