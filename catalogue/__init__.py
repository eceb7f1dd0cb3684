"""Providers, models and prices: rows, not code."""
