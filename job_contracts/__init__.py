"""The wire: every message, subject, stream name and failure that crosses a process border; pydantic only, no I/O.

``chat`` the provider-neutral conversation · ``jobs`` what is submitted · ``results`` how it ended · ``stream`` tokens
on their way · ``attempts`` scheduler and pools · ``failures`` what can go wrong and what it permits · ``facts`` what
the ledger is told · ``desk`` questions and answers · ``subjects`` all names · ``codec`` bytes and back · ``messages``
which of them travel on their own, and the JSON Schema of each (``schema/*.json``).
"""
