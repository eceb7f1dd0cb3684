"""PURE: what the HTTP APIs' bodies mean. Requests become ``asked.Asked``, results and events become bodies again.

Its rooms: ``asked`` the one form of a request, whichever API it came by · ``extras`` our headers · ``failures`` what
goes wrong, in each API's own shape · ``frames`` what a stream of server-sent events is made of, ``joining`` the
attempts behind it, ``places`` the ids of its events, ``rendition`` all of that together · ``openai_chat``,
``openai_responses``, ``openai_embeddings``, ``openai_models``, ``anthropic``, ``native`` one API each.
"""
