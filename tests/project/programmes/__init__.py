"""Projects with organisations and results, as far as document 000's queries name them."""
