"""A page for each way in which oxicache caches responses, and one that shows the headers of all of them."""
