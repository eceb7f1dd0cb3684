"""What the broker's answers mean: acknowledgements and API answers read cheaply, refusals named by the error tree."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from runtime.bus.port import (
    Ack,
    AlreadyStored,
    BusError,
    ConsumerState,
    NotFound,
    OutcomeUnknown,
    Refused,
    StreamFull,
    StreamState,
    TooLarge,
    Undecided,
    WrongSequence,
)

WRONG_SEQUENCE = 10071
UNDECIDED = 10164
STORE_FAILED = 10077
NO_MESSAGE = 10037
NO_CONSUMER = 10014
NO_STREAM = 10059
DELETED_ALREADY = frozenset({10043, 10057, NO_MESSAGE})
"""Answers to deleting a sequence that is not there: removed before, past the end, none."""

_NOT_FOUND = frozenset({NO_MESSAGE, NO_CONSUMER, NO_STREAM})
_FULL = frozenset({10023, 10028, 10047, 10167})
"""Insufficient resources, memory or storage exceeded, too many requests: nothing stored, later it may be."""
_TOO_LARGE = frozenset({10054, 10097})
"""Message, or its headers, over the stream's limit."""
_UNAVAILABLE = 10008
"""No leader or no quorum at the moment: what was sent may still be stored."""
_REFUSED = frozenset(
    {
        10060,  # another stream was expected
        10070,  # another last message id was expected
        10109,  # the stream is sealed
        10111,  # rollup not permitted
        10165,  # message TTL invalid
        10166,  # message TTL disabled
        10174,  # batches disabled
        10175,  # batch sequence missing
        10176,  # batch incomplete
        10177,  # a header that batches do not support
        10179,  # batch id invalid
        10199,  # batch too large
        10200,  # batch commit invalid
        10201,  # a duplicate message in the batch
        10205,  # a schedule header where none is allowed
        10210,  # too many batches in flight
        10211,  # as above, for the server
    }
)


def ack(data: bytes, subject: str) -> Ack:
    """The acknowledgement in ``data``. Raises the leaf of the error tree that a refusal means."""
    answer = _read(data, subject)
    error = answer.get("error")
    if error:
        raise refusal(error, subject)
    try:
        return Ack(answer["stream"], answer["seq"], answer.get("count", 1))
    except KeyError as missing:
        raise BusError(f"{subject}: an answer without {missing}: {data[:200]!r}") from missing


def api(data: bytes, subject: str) -> dict[str, Any]:
    """The API's answer in ``data``. Raises as ``ack`` does."""
    answer = _read(data, subject)
    error = answer.get("error")
    if error:
        raise refusal(error, subject)
    return answer


def refusal(error: dict[str, Any], subject: str) -> BusError:
    """The exception for an ``error`` member of an answer; the broker's own words are kept."""
    code = int(error.get("err_code", 0))
    description = str(error.get("description", ""))
    message = f"{subject}: {description or 'refused'} (code {code})"
    if code == WRONG_SEQUENCE:
        return WrongSequence(message, code=code, last_seq=_last_number(description))
    if code == UNDECIDED:
        return Undecided(message, code=code)
    if code == STORE_FAILED and "per subject" in description:
        return AlreadyStored(message, code=code)
    if code in _FULL or (code == STORE_FAILED and "exceeded" in description):
        return StreamFull(message, code=code)
    if code in _TOO_LARGE:
        return TooLarge(message, code=code)
    if code in _NOT_FOUND:
        return NotFound(message, code=code)
    if code == _UNAVAILABLE:
        return OutcomeUnknown(message, code=code)
    if code in _REFUSED:
        return Refused(message, code=code)
    return BusError(message, code=code)


def _read(data: bytes, subject: str) -> dict[str, Any]:
    try:
        answer = from_json(data)
    except ValueError as error:
        raise BusError(f"{subject}: unreadable answer {data[:200]!r}") from error
    if not isinstance(answer, dict):
        raise BusError(f"{subject}: unexpected answer {data[:200]!r}")
    return answer


def _last_number(description: str) -> int:
    digits = description.rpartition(":")[2].strip()
    return int(digits) if digits.isdigit() else 0


def stream_state(name: str, info: Mapping[str, Any], subjects: Mapping[str, int] | None) -> StreamState:
    """What the API tells of a stream."""
    state, config = info["state"], info["config"]
    copies = (info.get("cluster") or {}).get("replicas") or ()
    return StreamState(
        name=name,
        messages=state["messages"],
        bytes=state["bytes"],
        first_seq=state["first_seq"],
        last_seq=state["last_seq"],
        max_messages=config.get("max_msgs", -1),
        max_bytes=config.get("max_bytes", -1),
        subjects=subjects,
        first_at=_moment(state.get("first_ts")) if state["messages"] else None,
        last_at=_moment(state.get("last_ts")),
        made_at=_moment(info.get("created")),
        behind=tuple(one["name"] for one in copies if one.get("offline") or not one.get("current")),
    )


def consumer_state(info: Mapping[str, Any]) -> ConsumerState:
    """What the API tells of a consumer."""
    return ConsumerState(
        info["delivered"]["stream_seq"], info["num_ack_pending"], info["num_pending"], info.get("num_redelivered", 0)
    )


def _moment(told: str | None) -> float | None:
    """UTC seconds; the broker writes the year 1 where there is none."""
    return None if told is None or told.startswith("0001-") else datetime.fromisoformat(told).timestamp()
