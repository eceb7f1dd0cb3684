"""Who runs what, where, when."""
