"""Every stream and consumer, declared once as the broker's own JSON, and which drift from it is dangerous."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from job_contracts import subjects

Asset: TypeAlias = dict[str, Any]
"""``{"kind": "stream", "config": {…}}`` or ``{"kind": "consumer", "stream": …, "config": {…}}``, in raw JSON."""

SECOND = 1_000_000_000
"""The broker counts durations in nanoseconds."""
HOUR, DAY = 3_600 * SECOND, 86_400 * SECOND
MIB, GIB = 1024 * 1024, 1024 * 1024 * 1024
DEAD_DAYS = 14
"""Days a dead letter is kept."""
AUDITED = 10_000
"""Records that are kept of each target of orders, and of each kind of note: the last ones."""
HEADROOM = 64 * 1024
"""Bytes of headers that a submission may have on top of its body."""

Bytes = Annotated[int, Field(gt=0)]


class StreamLimits(BaseModel):
    """Sizes of the streams; bytes are reserved at the broker when a stream is made, so their sum must fit its store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    shards: Annotated[int, Field(ge=1, le=1)] = 1
    submit_bytes: Bytes = 8 * GIB
    submit_message: Bytes = 512 * 1024
    """Largest body of one submission; larger ones travel as blobs."""
    work_messages: Annotated[int, Field(gt=0)] = 100_000
    work_bytes: Bytes = 2 * GIB
    result_bytes: Bytes = 8 * GIB
    outcome_bytes: Bytes = 1 * GIB
    token_bytes: Bytes = 256 * MIB
    """Of memory."""
    control_bytes: Bytes = 128 * MIB
    ledger_bytes: Bytes = 4 * GIB
    dead_bytes: Bytes = 1 * GIB
    blob_bytes: Bytes = 8 * GIB
    key_bytes: Bytes = 128 * MIB
    file_bytes: Bytes = 16 * GIB
    batch_bytes: Bytes = 8 * GIB
    file_days: Annotated[int, Field(gt=0)] = 31
    """Days after which nothing is left of a file or a batch."""
    spent_bytes: Bytes = 64 * MIB
    """Of the sums that budgets are held to."""
    audit_bytes: Bytes = 256 * MIB
    """Of operators' orders and what else was done; when they are full, a further one is refused, none is dropped."""
    conversation_bytes: Bytes = 4 * GIB
    """Of what the HTTP edge keeps of responses; when they are full, a further one is refused, none is dropped."""
    ack_wait: Annotated[int, Field(ge=5)] = 60
    """Seconds until the broker counts an unacknowledged assignment as dead; it never delivers one twice."""
    max_ack_pending: Annotated[int, Field(gt=0)] = 50_000


def manifest(limits: StreamLimits, pools: Sequence[str] = ()) -> list[Asset]:
    """All streams, and the consumer of each of ``pools``."""
    declared = [*_streams(limits)]
    declared += [worker_consumer(pool, limits, shard) for shard in range(limits.shards) for pool in pools]
    return declared


def reserved(assets: Sequence[Mapping[str, Any]], storage: Literal["file", "memory"]) -> int:
    """Bytes that the broker sets aside in one of its stores, on each server that holds a copy."""
    configs = [asset["config"] for asset in assets if asset["kind"] == "stream"]
    return sum(max(config.get("max_bytes", 0), 0) for config in configs if config.get("storage", "file") == storage)


def worker_consumer(pool: str, limits: StreamLimits, shard: int = 0) -> Asset:
    """What a pool's workers pull from. ``max_deliver`` is 1: a second delivery would pass by admission."""
    return {
        "kind": "consumer",
        "stream": subjects.stream_name(subjects.WORK, shard),
        "config": {
            "name": subjects.check_token(pool, "pool"),
            "durable_name": pool,
            "filter_subject": subjects.work_of_pool(shard, pool),
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": limits.ack_wait * SECOND,
            "max_deliver": 1,
            "max_ack_pending": limits.max_ack_pending,
            "max_waiting": 512,
        },
    }


def _streams(limits: StreamLimits) -> Iterator[Asset]:
    prefix, public, job = subjects.PREFIX, subjects.PUBLIC, "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"
    for shard in range(limits.shards):
        yield _stream(
            subjects.stream_name(subjects.SUBMIT, shard),
            limits,
            subjects=[f"{public}.submit.*.*.*", f"{prefix}.submit_barrier.>"],
            subject_transform={"src": f"{public}.submit.*.*.*", "dest": f"{prefix}.q.{shard}.{job}"},
            discard="new",
            discard_new_per_subject=True,
            max_msgs_per_subject=1,
            max_bytes=limits.submit_bytes,
            max_msg_size=limits.submit_message + HEADROOM,
        )
        yield _stream(
            subjects.stream_name(subjects.WORK, shard),
            limits,
            subjects=[f"{prefix}.work.{shard}.*.*.*.*", subjects.lease(shard)],
            retention="workqueue",
            discard="new",
            max_msgs=limits.work_messages,
            max_bytes=limits.work_bytes,
            allow_atomic=True,
            allow_rollup_hdrs=True,
        )
        yield _stream(
            subjects.stream_name(subjects.OUT, shard),
            limits,
            subjects=[f"{prefix}.out.{shard}.*.*.*", f"{prefix}.out.{shard}.hedge.*.*.*", f"{prefix}.out_barrier.>"],
            max_msgs_per_subject=1,
            max_age=7 * DAY,
            max_bytes=limits.outcome_bytes,
            discard="new",
        )
    yield _stream(
        subjects.RES,
        limits,
        subjects=[f"{prefix}.res.*.*.*", f"{prefix}.score.*.*.*.*", f"{prefix}.res_barrier.>"],
        max_msgs_per_subject=1,
        max_bytes=limits.result_bytes,
        discard="new",
        allow_msg_ttl=True,
        republish={"src": f"{prefix}.res.*.*.*", "dest": f"{public}.live.{job}.res"},
    )
    yield _stream(
        subjects.TOK,
        limits,
        subjects=[f"{prefix}.tok.*.*.*"],
        storage="memory",
        max_age=600 * SECOND,
        max_bytes=limits.token_bytes,
        republish={"src": f"{prefix}.tok.*.*.*", "dest": f"{public}.live.{job}.tok"},
    )
    yield _stream(
        subjects.CTL,
        limits,
        subjects=[f"{public}.cancel.*.*.*", f"{prefix}.ctl_barrier.>"],
        max_msgs_per_subject=1,
        max_age=HOUR,
        max_bytes=limits.control_bytes,
    )
    yield _stream(
        subjects.LEDGER,
        limits,
        subjects=[f"{prefix}.usage.>", f"{prefix}.ledger_barrier.>"],
        max_age=30 * DAY,
        max_bytes=limits.ledger_bytes,
    )
    yield _stream(
        subjects.SPENT,
        limits,
        subjects=[f"{prefix}.spent.*"],
        discard="new",
        max_msgs_per_subject=2,
        max_bytes=limits.spent_bytes,
    )
    # The last order of a subject is in force however old it is, so nothing may fall out of it by itself but older ones.
    yield _stream(
        subjects.AUDIT,
        limits,
        subjects=[f"{prefix}.order.*.*.*", f"{prefix}.note.*", f"{prefix}.audit_barrier.>"],
        discard="new",
        max_msgs_per_subject=AUDITED,
        max_bytes=limits.audit_bytes,
    )
    yield _stream(
        subjects.DEAD,
        limits,
        subjects=[f"{prefix}.dead.>"],
        max_age=DEAD_DAYS * DAY,
        max_bytes=limits.dead_bytes,
        allow_rollup_hdrs=True,
    )
    yield _stream(
        subjects.BLOB,
        limits,
        subjects=[f"{public}.blob.*.*.*.*", f"{prefix}.blob.*.*.*.*"],
        discard="new",
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
        max_age=48 * HOUR,
        max_bytes=limits.blob_bytes,
    )
    yield from _edge_streams(limits)


def _edge_streams(limits: StreamLimits) -> Iterator[Asset]:
    """What the HTTP edges keep."""
    prefix = subjects.PREFIX
    # Nothing may fall out of it by itself: without its revocation a key that the configuration names would be let in.
    yield _stream(
        subjects.KEYS,
        limits,
        subjects=[f"{prefix}.keys.*"],
        discard="new",
        max_msgs_per_subject=1,
        max_bytes=limits.key_bytes,
        allow_atomic=True,
        allow_msg_ttl=True,
    )
    yield _stream(
        subjects.FILES,
        limits,
        subjects=[f"{prefix}.file.*.*", f"{prefix}.file_chunk.*.*.*"],
        max_msgs_per_subject=1,
        max_age=limits.file_days * DAY,
        max_bytes=limits.file_bytes,
        discard="new",
        allow_msg_ttl=True,
    )
    yield _stream(
        subjects.BATCHES,
        limits,
        subjects=[
            *(f"{prefix}.batch.*.*", f"{prefix}.batch_line.*.*.*", f"{prefix}.batch_part.*.*.*.*"),
            f"{prefix}.batch_sent.*.*",  # the workers' notes of what lies with their providers
        ],
        max_msgs_per_subject=1,
        max_age=limits.file_days * DAY,
        max_bytes=limits.batch_bytes,
        discard="new",
    )
    yield _stream(
        subjects.CONV,
        limits,
        subjects=[f"{prefix}.conv.*.*.*", f"{prefix}.conv.*.*.*.*"],
        discard="new",
        max_msgs_per_subject=1,
        max_bytes=limits.conversation_bytes,
        allow_msg_ttl=True,
    )


def _stream(name: str, limits: StreamLimits, **config: object) -> Asset:
    common = {
        "name": name,
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": limits.replicas,
        "allow_direct": True,
    }
    return {"kind": "stream", "config": {**common, **config}}


# -- drift


@dataclass(frozen=True, slots=True)
class Drift:
    """A field whose value at the broker is not the declared one; ``danger`` says what a change could destroy."""

    field: str
    actual: object
    wanted: object
    danger: str = ""

    def __str__(self) -> str:
        return f"{self.field} is {self.actual!r}, declared is {self.wanted!r}"


_FIXED = {
    "retention": "messages could vanish or stay for ever",
    "storage": "the broker cannot move a stream between file and memory",
    "num_replicas": "acknowledged messages could be lost if a node fails meanwhile",
    "subject_transform": "stored and new messages would lie on different subjects",
    "deliver_policy": "a consumer's starting point cannot be moved",
    "ack_policy": "messages would be handed out twice or never",
}
_SHRINKING = ("max_age", "max_msgs", "max_bytes", "max_msgs_per_subject")


def drifts(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> list[Drift]:
    """The declared fields that differ at the broker; fields that are not declared are none of our business."""
    found: list[Drift] = []
    for field, value in wanted.items():
        there = actual.get(field)
        if not _same(value, there):
            found.append(Drift(field, there, value, _danger(field, value, there, wanted)))
    return found


def _same(wanted: object, there: object) -> bool:
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return all(_same(value, there.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list | tuple) and isinstance(there, list | tuple):
        return sorted(map(str, wanted)) == sorted(map(str, there))
    return wanted == there or (not wanted and not there)


def _danger(field: str, wanted: Any, there: Any, config: Mapping[str, Any]) -> str:
    if field in _FIXED:
        return _FIXED[field]
    if field == "subjects" and set(there or ()) - set(wanted):
        return f"messages on {', '.join(sorted(set(there) - set(wanted)))} would no longer be stored"
    if field == "discard" and wanted == "old":
        return "the oldest messages would be dropped when it is full"
    if field in _SHRINKING and _shrinks(wanted, there) and not _refuses_new(field, config):
        return "messages beyond the new limit would be deleted at once"
    return ""


def _shrinks(wanted: int, there: int | None) -> bool:
    """Limits of 0 and -1 mean none."""
    return wanted > 0 and (there is None or there <= 0 or wanted < there)


def _refuses_new(field: str, config: Mapping[str, Any]) -> bool:
    return config.get("discard") == "new" and field in ("max_msgs", "max_bytes")
