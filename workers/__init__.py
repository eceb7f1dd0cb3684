"""Calls providers: one process serves one pool, and a pool holds the credential of one provider and nothing else.

Rooms: ``pool`` takes work, and in ``concluding`` answers for it · ``intake`` reads assignments · ``attempt`` makes one
call under its timeouts (``watch``), as long as nothing ends it sooner (``interrupting``) · ``preparing`` makes what is
asked, with what the route changes (``adapting``), in a length and a form the model takes (``fitting`` over
``vocabularies``, ``images``), for no more output than was reserved (``bounding``) · ``dialects`` wire formats, pure ·
``http`` the one way out, and the one place where failures get their names, over ``transport`` and ``auth`` ·
``smoothing`` keeps starts apart · ``streaming`` tokens to producers · ``records`` what an end looks like, pure ·
``wording`` what is said of one that was ours · ``charging`` what an attempt cost · ``reporting`` stores results and
outcomes · ``books`` tells the ledger, then acknowledges · ``heartbeats`` tells the leader · ``recent`` names met lately
· ``endpoint`` what attempts share · ``telling`` what is told of an end, ``instruments`` what is measured of it ·
``assembly`` puts a worker together.
"""
