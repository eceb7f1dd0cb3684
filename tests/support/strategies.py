"""Any message of the wire, for property tests: valid by construction, with the odd values people and providers send."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from job_contracts import (
    attempts,
    decisions,
    desk,
    embeddings,
    facts,
    failures,
    jobs,
    keys,
    letters,
    results,
    scaling,
    stream,
)
from job_contracts.codec import Wire, encode
from job_contracts.money import Budget
from tests.support.spend_strategies import SPEND
from tests.support.strategies_chat import answers, conversations, usages
from tests.support.strategies_constraints import constraints
from tests.support.strategies_dead import about
from tests.support.strategies_finding import finding
from tests.support.strategies_keys import about_keys
from tests.support.strategies_operating import OPERATING
from tests.support.strategies_plain import (
    configurations,
    counts,
    digests,
    failure_kinds,
    finish_reasons,
    job_ids,
    lanes,
    maybe,
    money,
    names,
    small,
    some,
    spans,
    states,
    tags,
    tokens,
    whens,
    words,
)
from tests.support.strategies_trials import TRIALS, placed

# -- jobs and results

blob_refs = st.builds(jobs.BlobRef, chunks=st.integers(1, 100), size=counts, sha256=digests)
"""A reference of the right form; there are no bytes behind it."""


embedding_requests = st.builds(
    embeddings.EmbeddingRequest,
    inputs=some(st.text(min_size=1, max_size=12), least=1),
    dimensions=maybe(st.integers(1, 65_536)),
    purpose=maybe(st.sampled_from(get_args(embeddings.Purpose))),
)
vectors = st.builds(
    embeddings.Embeddings,
    data=some(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=4).map(embeddings.packed)),
    dimensions=small,
)


@st.composite
def whole_jobs(draw: st.DrawFn) -> jobs.Job:
    """A chat job, its times in order; jobs of the other kind, which versions before 1.2 cannot read, are
    ``embedding_jobs``.
    """
    not_before = draw(maybe(whens))
    slack = draw(maybe(st.floats(1, 1e6)))
    return jobs.Job(
        id=draw(job_ids),
        route=draw(st.text(min_size=1, max_size=12)),
        conversation=draw(conversations()),
        lane=draw(lanes),
        priority=draw(st.integers(0, 9)),
        deadline=None if slack is None else (not_before or 0) + slack,
        not_before=not_before,
        idempotency_key=draw(maybe(st.text(min_size=1, max_size=12))),
        session=draw(maybe(words)),
        max_cost=draw(maybe(money)),
        tags=draw(tags),
        constraints=draw(maybe(constraints)),
        stream=draw(st.booleans()),
    )


embedding_jobs = st.builds(
    jobs.Job,
    id=job_ids,
    kind=st.just("embedding"),
    route=st.text(min_size=1, max_size=12),
    embedding=embedding_requests,
    lane=lanes,
    tags=tags,
)
tickets = st.builds(
    jobs.Ticket,
    route=words,
    lane=lanes,
    priority=st.integers(0, 9),
    deadline=maybe(whens),
    not_before=maybe(whens),
    submitted=whens,
    token=words,
    body_hash=words,
    input_estimate=counts,
    max_output=maybe(st.integers(1, 10**6)),
    stream=st.booleans(),
    session=maybe(words),
    max_cost=maybe(money),
    constraints=maybe(constraints),
    needs=some(st.sampled_from(["tools", "images", "json_schema", "reasoning", "logprobs"])),
    blob=maybe(blob_refs),
)
cancels = st.builds(jobs.Cancel, job=job_ids, token=words, reason=words)
choices = st.builds(
    decisions.Choice,
    strategy=words,
    deployment=maybe(words),
    weighed=some(
        st.builds(
            decisions.Weighed,
            deployment=words,
            against=words,
            cost=maybe(money),
            seconds=maybe(spans),
            first_token=maybe(spans),
            in_flight=maybe(small),
            load=maybe(spans),
        ),
        most=2,
    ),
    session=maybe(
        st.builds(
            decisions.Staying, home=words, cached=small, worth=maybe(money), saves=maybe(money), stays=st.booleans()
        )
    ),
)
job_statuses = st.builds(
    jobs.JobStatus,
    decision=maybe(choices),
    job=job_ids,
    state=states,
    route=words,
    lane=lanes,
    token=words,
    body_hash=words,
    submitted=whens,
    attempts=small,
    deployment=maybe(words),
    position=maybe(small),
    eta=maybe(spans),
    waiting_for=maybe(words),
    deadline=maybe(whens),
)
all_failures = st.builds(
    failures.Failure,
    kind=failure_kinds,
    message=words,
    field=maybe(words),
    remedy=maybe(words),
    status=maybe(st.integers(100, 599)),
    code=maybe(words),
    retry_after=maybe(spans),
    provider=maybe(tokens),
    deployment=maybe(words),
    produced=st.booleans(),
)
losses = st.builds(
    results.Loss,
    kind=st.sampled_from(["dropped", "renamed", "clamped", "rewritten", "merged", "converted"]),
    field=words,
    detail=words,
)
records = st.builds(
    results.AttemptRecord,
    decision=maybe(choices),
    number=small,
    deployment=words,
    provider=tokens,
    model=words,
    started=whens,
    seconds=spans,
    first_token=maybe(spans),
    failure=maybe(all_failures),
    usage=usages,
    losses=some(losses, most=2),
)
settlements = st.builds(
    results.Settlement,
    state=states,
    token=words,
    body_hash=words,
    attempt=small,
    deployment=maybe(words),
    usage=usages,
    seconds=spans,
    first_token=maybe(spans),
    trial=maybe(placed),
    cost=maybe(money),
    finished=maybe(whens),
)
whole_results = st.builds(
    results.Result,
    job=job_ids,
    project=tokens,
    state=states,
    route=words,
    token=words,
    body_hash=words,
    nonce=words,
    answer=maybe(answers),
    embeddings=maybe(vectors),
    finish_reason=maybe(finish_reasons),
    finish_raw=maybe(words),
    usage=usages,
    cost=maybe(money),
    provider=maybe(tokens),
    model=maybe(words),
    deployment=maybe(words),
    attempts=some(records, most=2),
    failure=maybe(all_failures),
    times=st.builds(results.Times, submitted=whens, dispatched=maybe(whens), finished=whens),
    tags=tags,
    blob=maybe(blob_refs),
)

# -- between the scheduler and the pools

limit_readings = st.builds(
    attempts.LimitReading,
    unit=st.sampled_from(["requests", "input_tokens", "output_tokens", "tokens", "concurrency"]),
    limit=maybe(spans),
    remaining=maybe(spans),
    reset=maybe(spans),
    window=spans,
)
adaptations = st.builds(attempts.Adaptation, system_replace=maybe(words), system_append=maybe(words))
grants = st.builds(
    attempts.Grant, domain=words, input_tokens=counts, output_tokens=counts, valid_for=spans, granted=whens
)


@st.composite
def assignments(draw: st.DrawFn) -> attempts.Assignment:
    """With the body in it, or with the place where it lies."""
    body = draw(whole_jobs() | blob_refs)
    return attempts.Assignment(
        job_id=body.id if isinstance(body, jobs.Job) else draw(job_ids),
        project=draw(tokens),
        attempt=draw(st.integers(1, 50)),
        deployment=draw(words),
        provider=draw(tokens),
        model=draw(words),
        grant=draw(grants),
        adaptation=draw(maybe(adaptations)),
        route=draw(words),
        token=draw(words),
        body_hash=draw(words),
        submitted=draw(whens),
        deadline=draw(maybe(whens)),
        stream=draw(st.booleans()),
        switched_from=draw(maybe(words)),
        switch_reason=draw(maybe(words)),
        history=draw(some(records, most=2)),
        decision=draw(maybe(choices)),
        trial=draw(maybe(placed)),
        epoch=draw(counts),
        blob=body if isinstance(body, jobs.BlobRef) else None,
        job=body if isinstance(body, jobs.Job) else None,
    )


outcomes = st.builds(
    attempts.Outcome,
    job_id=job_ids,
    project=tokens,
    token=words,
    body_hash=words,
    pool=tokens,
    worker=tokens,
    record=records,
    history=some(records, most=2),
    failure=all_failures,
    limits=some(limit_readings, most=2),
    called=st.booleans(),
    route=maybe(words),
    trial=maybe(placed),
)
heartbeats = st.builds(
    attempts.Heartbeat,
    pool=tokens,
    worker=tokens,
    slots=small,
    attempts=some(words),
    draining=st.booleans(),
    limits=st.dictionaries(words, some(limit_readings, most=2), max_size=2),
    configured=maybe(configurations),
)
heartbeat_replies = st.builds(attempts.HeartbeatReply, abort=some(words))
aborts = st.builds(attempts.Abort, attempts=some(words), reason=words)

# -- tokens on their way

deltas = st.one_of(
    st.builds(
        stream.StartDelta,
        deployment=words,
        provider=tokens,
        model=words,
        switched_from=maybe(words),
        reason=maybe(words),
    ),
    st.builds(stream.TextDelta, text=words),
    st.builds(stream.ReasoningDelta, text=words, signature=maybe(words), redacted=maybe(words), origin=maybe(words)),
    st.builds(stream.ToolCallDelta, index=small, id=maybe(words), name=maybe(names), arguments=words),
    st.builds(stream.EndDelta, finish_reason=finish_reasons, usage=usages),
)
chunks = st.builds(stream.Chunk, generation=st.integers(1, 50), sequence=st.integers(1, 10**6), deltas=some(deltas))

# -- the ledger and the desk

attempt_facts = st.builds(
    facts.AttemptFact,
    attempt=words,
    project=tokens,
    route=words,
    deployment=words,
    provider=tokens,
    model=words,
    started=whens,
    seconds=spans,
    first_token=maybe(spans),
    usage=usages,
    cost=maybe(money),
    reason=st.sampled_from(["user", "failed", "cancelled", "hedged", "shadow", "verify"]),
    failure=maybe(failure_kinds),
    won=st.booleans(),
    tags=tags,
    trial=maybe(placed),
)
fact_batches = st.builds(facts.Facts, facts=some(attempt_facts))
reasons = st.sampled_from(["poison", "unreadable", "invalid", "exhausted"])
letter_states = st.sampled_from(["open", "replayed", "discarded"])
dead_letters = st.builds(
    letters.DeadLetter,
    project=words,
    job=words,
    reason=reasons,
    detail=words,
    fingerprint=words,
    at=whens,
    stream=words,
    seq=counts,
    attempts=small,
    headers=tags,
    body=words,
    state=letter_states,
    failure=maybe(all_failures),
    ticket=maybe(tickets),
    history=some(records),
    blob=maybe(blob_refs),
    kept_until=maybe(whens),
    replay=maybe(st.builds(letters.Replay, job=job_ids, route=words, at=whens)),
    closed=maybe(whens),
    why=words,
)
summaries = st.builds(letters.summary, dead_letters, counts)
handled = st.builds(
    letters.Handled,
    job=job_ids,
    done=st.sampled_from(["replayed", "discarded", "already", "missing", "refused"]),
    became=maybe(job_ids),
    failure=maybe(all_failures),
)
budgets = st.builds(
    Budget,
    hour=maybe(money),
    day=maybe(money),
    week=maybe(money),
    month=maybe(money),
    total=maybe(money),
    soft=st.booleans(),
)
key_scopes = st.builds(
    keys.Scope,
    routes=maybe(some(words)),
    lanes=maybe(some(lanes)),
    rpm=maybe(st.floats(0.001, 1e6)),
    max_tokens=maybe(st.integers(1, jobs.MOST_TOKENS)),
    max_cost=maybe(money.filter(bool)),
    expires=maybe(whens),
    tpm=maybe(st.floats(0.001, 1e6)),
    concurrency=maybe(st.integers(1, 10_000)),
    max_queued=maybe(st.integers(1, 10_000)),
    max_queued_bytes=maybe(st.integers(1, 10_000)),
    budget=maybe(budgets),
)
key_records = st.builds(
    keys.KeyRecord,
    id=tokens,
    project=tokens,
    hash=digests,
    name=words,
    scope=key_scopes,
    static=st.booleans(),
    created=whens,
    revoked=maybe(whens),
    until=maybe(whens),
    replaced_by=maybe(tokens),
    replaces=maybe(tokens),
)


EVERY_MESSAGE: dict[str, st.SearchStrategy[Wire]] = {
    "job": whole_jobs(),
    "ticket": tickets,
    "cancel": cancels,
    "job_status": job_statuses,
    "result": whole_results,
    "settlement": settlements,
    "assignment": assignments(),
    "outcome": outcomes,
    "heartbeat": heartbeats,
    "heartbeat_reply": heartbeat_replies,
    "abort": aborts,
    "chunk": chunks,
    "facts": fact_batches,
    "dead_letter": dead_letters,
    "hello": st.builds(
        desk.Hello,
        project=tokens,
        routes=some(words),
        lanes=some(lanes),
        max_message=counts,
        max_body=counts,
        server=words,
    ),
    "ask_jobs": st.builds(desk.AskJobs, jobs=some(job_ids), attempts=st.booleans()),
    "statuses": st.builds(
        desk.Statuses,
        statuses=some(job_statuses),
        finished=some(job_ids),
        attempts=some(st.builds(desk.Tried, job=job_ids, attempts=some(records, most=2)), most=2),
    ),
    "results": st.builds(
        desk.Results,
        records=some(whole_results.map(lambda result: encode(result).decode()), most=2),
        more=st.booleans(),
    ),
    "ask_chunks": st.builds(desk.AskChunks, job=job_ids, generation=small, sequence=small),
    "chunks": st.builds(desk.Chunks, chunks=some(chunks), more=st.booleans()),
    "ask_blob": st.builds(desk.AskBlob, job=job_ids, index=small),
    "ask_estimates": st.builds(
        desk.AskEstimates,
        jobs=some(
            st.builds(
                desk.Planned,
                route=words,
                input_estimate=st.integers(0, jobs.MOST_TOKENS),
                max_output=maybe(st.integers(1, jobs.MOST_TOKENS)),
                size=counts,
                lane=maybe(lanes),
                session=maybe(words),
                explain=st.booleans(),
            )
        ),
    ),
    "estimates": st.builds(
        desk.Estimates,
        estimates=some(
            st.builds(
                desk.Estimate,
                deployment=maybe(words),
                expected=maybe(money),
                worst=maybe(money),
                refused=maybe(all_failures),
                decision=maybe(choices),
            )
        ),
    ),
    "refusal": st.builds(desk.Refusal, refused=all_failures),
    "ask_letters": st.builds(
        letters.AskLetters,
        after=counts,
        until=maybe(counts),
        limit=st.integers(1, letters.MAX_LISTED),
        state=letter_states | st.just("any"),
        fingerprint=maybe(words),
        route=maybe(words),
    ),
    "letter_page": st.builds(
        letters.LetterPage, letters=some(summaries, most=2), after=counts, more=st.booleans(), last=counts
    ),
    "found_letter": st.builds(letters.FoundLetter, letter=maybe(dead_letters)),
    "ask_letter": st.builds(letters.AskLetter, job=job_ids),
    "ask_letter_body": st.builds(letters.AskLetterBody, job=job_ids, index=small),
    "ask_replay": st.builds(letters.AskReplay, jobs=some(job_ids), route=maybe(words)),
    "ask_discard": st.builds(letters.AskDiscard, jobs=some(job_ids), why=words),
    "all_handled": st.builds(letters.AllHandled, handled=some(handled)),
    **about(dead_letters, handled),
    "key_record": key_records,
    "edge_beat": st.builds(
        keys.EdgeBeat,
        edge=st.text(min_size=1, max_size=12),
        event=st.sampled_from(["here", "joining", "leaving"]),
        configured=maybe(configurations),
    ),
    "scales": st.builds(
        scaling.Scales,
        at=st.floats(0, 4e9),
        pools=some(
            st.builds(
                scaling.PoolScale,
                pool=st.text(min_size=1, max_size=12),
                desired=counts,
                needed=counts,
                workers=counts,
                slots=st.floats(1, 1e4),
                in_flight=counts,
                waiting=counts,
                held_back=counts,
            )
        ),
    ),
    **about_keys(key_scopes),
    **SPEND,
    **TRIALS,
    **OPERATING,
    **finding(job_statuses, records, whole_results, letter_states),
}
"""A strategy for every message of ``job_contracts.messages``, by the same names."""
