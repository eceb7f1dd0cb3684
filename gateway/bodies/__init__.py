"""PURE: what the HTTP APIs' bodies mean. Requests become ``asked.Asked``, results and events become bodies again.

Its rooms: ``asked`` the one form of a request, whichever API it came by · ``extras`` our headers · ``failures`` what
goes wrong, in each API's own shape · ``joining`` the attempts behind one stream · ``frames`` what a stream of
server-sent events is made of · ``openai_chat``, ``openai_responses``, ``openai_embeddings``, ``openai_models``,
``anthropic`` one API each.
"""
