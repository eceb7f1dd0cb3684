"""The seam to the broker: one port, one file per implementation."""
