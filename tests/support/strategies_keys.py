"""Messages about keys, for property tests; ``tests.support.strategies`` has them among all others."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from job_contracts import key_asking
from job_contracts.codec import Wire
from job_contracts.keys import Scope
from tests.support.strategies_plain import configurations, counts, digests, maybe, some, spans, tokens, whens, words


def about_keys(scopes: st.SearchStrategy[Scope]) -> Mapping[str, st.SearchStrategy[Wire]]:
    """By the names of their schemas."""
    told = st.builds(
        key_asking.ToldKey,
        id=words,
        project=words,
        name=words,
        scope=scopes,
        static=st.booleans(),
        created=whens,
        ended=maybe(st.sampled_from(["revoked", "replaced", "expired"])),
        end=maybe(whens),
        revoked=maybe(whens),
        replaced_by=maybe(words),
        replaces=maybe(words),
    )
    return {
        "ask_keys": st.builds(
            key_asking.AskKeys,
            project=maybe(words),
            id=maybe(words),
            valid=maybe(st.booleans()),
            limit=st.integers(1, key_asking.MAX_LISTED),
            after=maybe(words),
        ),
        "key_page": st.builds(
            key_asking.KeyPage,
            keys=some(told, most=2),
            total=counts,
            in_force=st.dictionaries(words, counts, max_size=2),
            after=maybe(words),
        ),
        "ask_new_key": st.builds(
            key_asking.AskNewKey, id=tokens, hash=digests, project=tokens, name=words, scope=scopes
        ),
        "ask_rotation": st.builds(key_asking.AskRotation, id=tokens, hash=digests, old=tokens, overlap=maybe(spans)),
        "ask_revocation": st.builds(key_asking.AskRevocation, id=tokens),
        "key_done": st.builds(key_asking.KeyDone, key=told, old=maybe(told)),
        "told_edges": st.builds(
            key_asking.ToldEdges,
            edges=some(
                st.builds(key_asking.ToldEdge, name=words, silent=spans, configured=maybe(configurations)), most=2
            ),
        ),
    }
