"""The HTTP edge: a producer that speaks HTTP. It keeps nothing that a restart would lose.

Its rooms: ``edge`` what a process holds, ``app`` its routes and who may use each · ``server`` the HTTP server,
``guarding`` what each of its connections may take, ``words`` what it says by itself · ``call`` one request,
``reading`` its body, ``caller`` and ``keys`` who sends it · ``asking`` jobs out of a request and its answer back, over
``producers``, one a project; ``refusals`` what the SDK raises as an API's error, ``lingering`` jobs whose client has
gone · ``conversations`` what is kept of responses · ``sse`` server-sent events · ``watching`` and ``instruments`` what
is measured · ``routes`` one module an API · ``bodies`` what the APIs' bodies mean (pure).
"""
