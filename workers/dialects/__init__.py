"""The wire formats of providers: one file each, and nothing in them but translation."""
