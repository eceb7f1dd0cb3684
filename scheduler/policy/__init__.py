"""Who runs what, where, when, decided from facts and now alone."""
