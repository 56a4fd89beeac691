"""Pages of which a part is cached: the choices of a form, a fragment of a template, a queryset; with their queries."""
