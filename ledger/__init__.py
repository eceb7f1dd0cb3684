"""What it cost: facts of attempts become double entries, sums, reports. The only SQL, and off every job's way.

``service`` reads LEDGER and stores what it says, exactly once · ``entries`` an attempt as
double entries (pure), of ``bookings`` (pure) and with ``deltas`` of sums (pure) · ``tables`` the schema, ``store``
writes and reads it, in ``bulk``; ``database`` engine and migrations, at one of ``addresses`` ·
``reports`` spend, comparison, forecast · ``desk`` answers services · ``reconcile`` a provider's own figures against
ours · ``retention`` what goes when · ``alerts`` what somebody should know, ``webhook`` tells them.
"""
