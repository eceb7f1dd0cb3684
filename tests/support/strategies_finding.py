"""Messages of those who look for jobs, for property tests; ``tests.support.strategies`` has them among all others."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from job_contracts import finding as wire
from job_contracts.codec import Wire
from job_contracts.jobs import JobStatus
from job_contracts.results import AttemptRecord, Result
from tests.support.strategies_plain import (
    counts,
    job_ids,
    lanes,
    maybe,
    money,
    names,
    small,
    some,
    states,
    tags,
    whens,
    words,
)


def finding(
    statuses: st.SearchStrategy[JobStatus],
    records: st.SearchStrategy[AttemptRecord],
    results: st.SearchStrategy[Result],
    letter_states: st.SearchStrategy[str],
) -> Mapping[str, st.SearchStrategy[Wire]]:
    """By the names of ``job_contracts.messages``, made of these."""
    rows = st.builds(
        wire.JobRow,
        place=counts,
        project=names,
        job=job_ids,
        token=words,
        state=states,
        route=words,
        lane=lanes,
        deployment=maybe(words),
        attempts=small,
        submitted=whens,
        deadline=maybe(whens),
        waiting_for=maybe(words),
        key=maybe(words),
        tags=tags,
        replay_of=maybe(words),
        read=st.booleans(),
    )
    named = st.builds(wire.Named, project=names, job=job_ids, token=words)
    return {
        "ask_find": st.builds(
            wire.AskFind,
            project=maybe(words),
            route=maybe(words),
            lane=maybe(lanes),
            state=maybe(st.sampled_from(wire.PHASES)),
            pool=maybe(words),
            deployment=maybe(words),
            key=maybe(words),
            tag=maybe(words),
            replay_of=maybe(words),
            submitted_before=maybe(whens),
            after=counts,
            until=maybe(counts),
            before=maybe(counts),
            limit=st.integers(0, wire.MAX_FOUND),
            brief=st.booleans(),
        ),
        "job_page": st.builds(
            wire.JobPage,
            at=whens,
            jobs=some(rows, most=2),
            matching=counts,
            looked=counts,
            after=counts,
            more=st.booleans(),
            last=counts,
            unread=counts,
        ),
        "ask_job": st.builds(wire.AskJob, project=names, job=job_ids),
        "found_job": st.builds(
            wire.FoundJob,
            at=whens,
            status=maybe(statuses),
            attempts=some(records, most=2),
            key=maybe(words),
            tags=tags,
            replay_of=maybe(words),
            not_before=maybe(whens),
            max_cost=maybe(money),
            result=maybe(results),
            letter=maybe(letter_states),
        ),
        "ask_cancels": st.builds(wire.AskCancels, by=names, why=words, jobs=some(named)),
        "cancels": st.builds(wire.Cancels, told=counts, gone=counts),
    }
