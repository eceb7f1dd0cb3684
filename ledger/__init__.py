"""What it cost: facts of attempts become double entries, sums, reports. The only SQL, and off every job's way.

``service`` reads LEDGER and stores what it says, exactly once · ``entries`` an attempt as
double entries (pure), of ``bookings`` (pure) and with ``deltas`` of sums (pure) · ``tables`` the schema, ``store``
writes and reads it, in ``bulk``; ``database`` engine and migrations, at one of ``addresses`` ·
``reports`` spend, comparison, forecast · ``desk`` answers services · ``statements`` reads a provider's own figures
(``statement_csv``, ``statement_json``, ``statement_lines``: pure), ``drift`` finds where ours part from them and why
(pure), ``reconcile`` keeps and corrects · ``retention`` what goes when, and who is forgotten · ``alerts`` what somebody
should know, from figures that ``watching`` reads; ``webhook`` tells them · ``commands`` reconcile and forget.
"""
