"""Everything in one process tree for a laptop."""
