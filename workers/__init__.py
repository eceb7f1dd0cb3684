"""Calls providers."""
