"""Providers and models as data: rows, not code.

Rooms: ``rows`` the form of a provider's and a model's facts · ``quirks`` every deviation a row may name, with its
meaning and default · ``prices`` what a call costs · ``pricing`` the price of a moment, and its version · ``tokens``
what model families make of a prompt's characters · ``names`` the spellings of one model · ``places`` fills in what an
address leaves open · ``load`` reads the rows, over one another · ``library`` what a library knows besides ·
``providers/*.toml`` one file a provider, and nothing else to add one.
"""
