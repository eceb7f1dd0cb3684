"""Providers and models as data: rows, not code.

Rooms: ``rows`` the form of a provider's and a model's facts · ``quirks`` every deviation a row may name, with its
meaning and default · ``tokens`` what model families make of a prompt's characters · ``load`` reads the rows ·
``providers/*.toml`` one file a provider, and nothing else to add one.
"""
