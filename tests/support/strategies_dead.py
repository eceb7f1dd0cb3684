"""Messages about dead letters of all projects, for property tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from hypothesis import strategies as st

from job_contracts import dead, letters
from job_contracts.codec import Wire
from tests.support.strategies_plain import counts, job_ids, maybe, names, small, some, whens, words

_asked = {
    "project": maybe(words),
    "route": maybe(words),
    "fingerprint": maybe(words),
    "after": counts,
}
_looked = {"after": counts, "more": st.booleans(), "last": counts}
_states = st.sampled_from(get_args(letters.AnyState))
_causes = st.builds(
    dead.Cause,
    fingerprint=words,
    reason=st.sampled_from(get_args(letters.Reason)),
    kind=words,
    detail=words,
    count=counts,
    replayable=counts,
    first=whens,
    last=whens,
    projects=some(names),
    routes=some(names),
    deployments=some(names),
    sample=words,
    sample_project=words,
)


def about(
    found: st.SearchStrategy[letters.DeadLetter], handled: st.SearchStrategy[letters.Handled]
) -> Mapping[str, st.SearchStrategy[Wire]]:
    """By the names of ``job_contracts.messages``."""
    listed = st.builds(dead.of_project, names, found, counts, words)
    failures = st.builds(lambda one, project: dead.HandledOf(**dict(one), project=project), handled, names)
    return {
        "ask_causes": st.builds(dead.AskCauses, **_asked, until=maybe(counts), state=_states),
        "causes": st.builds(dead.Causes, causes=some(_causes, most=2), **_looked),
        "ask_dead_letters": st.builds(
            dead.AskDeadLetters,
            **_asked,
            until=maybe(counts),
            state=_states,
            limit=st.integers(1, letters.MAX_LISTED),
        ),
        "dead_letters": st.builds(dead.DeadLetters, letters=some(listed, most=2), **_looked),
        "ask_dead_letter": st.builds(dead.AskDeadLetter, project=words, job=words),
        "found_dead": st.builds(dead.FoundDead, letter=maybe(found), seq=counts),
        "ask_handle": st.builds(
            dead.AskHandle,
            **_asked,
            do=st.sampled_from(get_args(dead.Act)),
            job=maybe(job_ids),
            until=counts,
            limit=st.integers(1, letters.MAX_HANDLED),
            onto=maybe(words),
            why=words,
        ),
        "handled_up_to": st.builds(
            dead.HandledUpTo,
            done=small,
            already=small,
            failed=small,
            failures=some(failures, most=2),
            after=counts,
            more=st.booleans(),
        ),
    }
