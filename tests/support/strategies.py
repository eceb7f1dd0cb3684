"""Any message of the wire, for property tests: valid by construction, with the odd values people and providers send."""

from __future__ import annotations

from typing import TypeVar, get_args

from hypothesis import strategies as st

from job_contracts import attempts, chat, desk, embeddings, facts, failures, jobs, keys, letters, results, stream
from job_contracts.codec import Wire, encode
from job_contracts.money import Budget
from tests.support.spend_strategies import SPEND

T = TypeVar("T")


def maybe(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """A value or nothing."""
    return st.none() | values


def some(values: st.SearchStrategy[T], *, least: int = 0, most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """A few of them."""
    return st.lists(values, min_size=least, max_size=most).map(tuple)


# -- plain values

words = st.text(max_size=12)
"""Text of any script, line breaks and control characters included."""
names = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)
tokens = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
job_ids = st.from_regex(r"[A-Za-z0-9_]{1,32}-[A-Za-z0-9_]{1,32}", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
whens = st.floats(min_value=0, max_value=4e9)
"""UTC seconds."""
spans = st.floats(min_value=0, max_value=1e6)
counts = st.integers(min_value=0, max_value=jobs.MOST_TOKENS)
small = st.integers(min_value=0, max_value=50)
money = st.decimals(min_value=0, max_value=10_000, allow_nan=False, allow_infinity=False, places=6)
json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)
tags = st.dictionaries(words, words, max_size=3)
lanes = st.sampled_from(jobs.LANES)
finish_reasons = st.sampled_from(chat.FinishReason)
states = st.sampled_from(jobs.JobState)
failure_kinds = st.sampled_from(failures.FailureKind)

# -- the conversation

texts = st.builds(chat.TextPart, text=words)
images = st.builds(chat.ImagePart, url=words) | st.builds(
    chat.ImagePart,
    data=st.just("aGk="),
    media_type=st.sampled_from(["image/png", "image/jpeg"]),
    detail=st.sampled_from([None, "auto", "low", "high"]),
)
reasonings = st.builds(
    chat.ReasoningPart, text=words, signature=maybe(words), redacted=maybe(words), origin=maybe(tokens)
)
tool_calls = st.builds(
    chat.ToolCallPart, id=words, name=names, arguments=words, signature=maybe(words), origin=maybe(tokens)
)
refusals = st.builds(chat.RefusalPart, text=words)
user_content = words | some(texts | images)
assistant_content = words | some(texts | reasonings | tool_calls | refusals)
system_turns = st.builds(chat.SystemTurn, role=st.sampled_from(["system", "developer"]), content=words | some(texts))
user_turns = st.builds(chat.UserTurn, role=st.just("user"), content=user_content, name=maybe(words))
assistant_turns = st.builds(chat.AssistantTurn, role=st.just("assistant"), content=assistant_content)
tool_turns = st.builds(
    chat.ToolTurn,
    role=st.just("tool"),
    tool_call_id=words,
    content=user_content,
    name=maybe(words),
    is_error=st.booleans(),
)
turns = system_turns | user_turns | assistant_turns | tool_turns
tools = st.builds(
    chat.Tool, name=names, description=maybe(words), parameters=maybe(json_objects), strict=maybe(st.booleans())
)
response_formats = st.one_of(
    st.builds(chat.TextFormat),
    st.builds(chat.JsonFormat),
    st.builds(
        chat.JsonSchemaFormat,
        name=names,
        description=maybe(words),
        json_schema=json_objects,
        strict=maybe(st.booleans()),
    ),
)
settings = st.builds(
    chat.Settings,
    max_tokens=maybe(st.integers(1, 10**6)),
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0.01, 1)),
    stop=some(words),
    seed=maybe(st.integers(-(2**63), 2**63)),
    presence_penalty=maybe(st.floats(-2, 2)),
    frequency_penalty=maybe(st.floats(-2, 2)),
    response_format=maybe(response_formats),
    tool_choice=st.sampled_from([None, "auto", "none"]),
    parallel_tool_calls=maybe(st.booleans()),
    reasoning_effort=st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    logprobs=maybe(st.booleans()),
    top_logprobs=maybe(st.integers(0, 20)),
)


@st.composite
def conversations(draw: st.DrawFn) -> chat.Conversation:
    """Any turns, tools with names of their own, and settings that may force one of them."""
    offered = draw(st.lists(tools, max_size=3, unique_by=lambda tool: tool.name))
    chosen = draw(settings)
    forcing: bool = draw(st.booleans())
    if offered and forcing:
        forced = st.just("required") | st.builds(chat.NamedTool, name=st.sampled_from([t.name for t in offered]))
        chosen = chosen.model_copy(update={"tool_choice": draw(forced)})
    return chat.Conversation(messages=draw(some(turns, least=1)), tools=tuple(offered), settings=chosen)


# -- the conversation with what contracts have had since 1.2

cache_marks = st.sampled_from([None, None, "5m", "1h"])
addresses = st.sampled_from(
    ["https://example.com/a.pdf", "https://example.com/b", "gs://bucket/c.mp3", "data:text/plain;base64,aGk="]
)
media_types = st.sampled_from(
    [
        *("application/pdf", "text/plain", "text/csv", "application/json", "audio/wav", "video/mp4", "image/png"),
        *("image/bmp", "application/zip"),
    ]
)
marked_texts = st.builds(chat.TextPart, text=words, cache=cache_marks)
marked_images = st.builds(
    chat.ImagePart,
    data=st.just("aGk="),
    media_type=st.sampled_from(["image/png", "image/jpg", "image/gif", "image/tiff"]),
    cache=cache_marks,
)
files = st.builds(
    chat.FilePart,
    data=st.sampled_from(["aGk=", "/w=="]),
    media_type=media_types,
    name=maybe(words),
    cache=cache_marks,
) | st.builds(chat.FilePart, url=addresses, media_type=media_types, cache=cache_marks)
marked_content = some(marked_texts | marked_images | files)
marked_turns = st.one_of(
    st.builds(chat.SystemTurn, role=st.just("system"), content=some(marked_texts)),
    st.builds(chat.UserTurn, role=st.just("user"), content=marked_content),
    st.builds(
        chat.AssistantTurn,
        role=st.just("assistant"),
        content=some(marked_texts | reasonings | st.builds(chat.ToolCallPart, id=st.sampled_from("abc"), name=names)),
    ),
    st.builds(chat.ToolTurn, role=st.just("tool"), tool_call_id=st.sampled_from("abc"), content=words | marked_content),
)


@st.composite
def marked_conversations(draw: st.DrawFn) -> chat.Conversation:
    """Conversations with files, cache marks, top_k and thinking budgets, whose calls and results seldom fit."""
    offered = draw(st.lists(tools, max_size=3, unique_by=lambda tool: tool.name))
    marked = [tool.model_copy(update={"cache": draw(cache_marks)}) for tool in offered]
    wanted = {"top_k": draw(maybe(st.integers(1, 100))), "reasoning_budget": draw(maybe(st.integers(1, 100_000)))}
    return chat.Conversation(
        messages=draw(some(marked_turns, least=1, most=5)),
        tools=tuple(marked),
        settings=draw(settings).model_copy(update=wanted),
    )


usages = st.builds(
    chat.Usage,
    input=counts,
    output=counts,
    cache_read=counts,
    cache_write=counts,
    reasoning=counts,
    reported=st.booleans(),
)
logprobs = st.builds(
    chat.TokenLogprob, token=words, logprob=st.floats(-100, 0), top=some(st.tuples(words, st.floats(-100, 0)))
)
answers = st.builds(
    chat.Answer, parts=some(texts | reasonings | tool_calls | refusals), logprobs=some(logprobs, most=2)
)

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
    needs=some(st.sampled_from(["tools", "images", "json_schema", "reasoning", "logprobs"])),
    blob=maybe(blob_refs),
)
cancels = st.builds(jobs.Cancel, job=job_ids, token=words, reason=words)
job_statuses = st.builds(
    jobs.JobStatus,
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
)
heartbeats = st.builds(
    attempts.Heartbeat,
    pool=tokens,
    worker=tokens,
    slots=small,
    attempts=some(words),
    draining=st.booleans(),
    limits=st.dictionaries(words, some(limit_readings, most=2), max_size=2),
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
    "ask_jobs": st.builds(desk.AskJobs, jobs=some(job_ids)),
    "statuses": st.builds(desk.Statuses, statuses=some(job_statuses), finished=some(job_ids)),
    "results": st.builds(
        desk.Results,
        records=some(whole_results.map(lambda result: encode(result).decode()), most=2),
        more=st.booleans(),
    ),
    "ask_chunks": st.builds(desk.AskChunks, job=job_ids, generation=small, sequence=small),
    "chunks": st.builds(desk.Chunks, chunks=some(chunks), more=st.booleans()),
    "ask_blob": st.builds(desk.AskBlob, job=job_ids, index=small),
    "estimates": st.builds(
        desk.Estimates,
        estimates=some(
            st.builds(
                desk.Estimate,
                deployment=maybe(words),
                expected=maybe(money),
                worst=maybe(money),
                refused=maybe(all_failures),
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
    "key_record": key_records,
    **SPEND,
}
"""A strategy for every message of ``job_contracts.messages``, by the same names."""
