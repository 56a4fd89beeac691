"""Management commands: argument parsing and printing over oxicache.operations."""
