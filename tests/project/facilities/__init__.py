"""Models that the documents name and do not show."""
