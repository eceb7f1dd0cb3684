"""One request as it will be submitted: body, ticket and id, checked before anything is sent. Pure.

The body says *what* is to be done and is the same bytes for equal requests; whatever differs from one submission to the
next travels in the ticket only: the moment of submission, its token, ``deadline``, ``not_before``, and whether tokens
are wanted while they come. ``Ticket.body_hash`` is ``job_contracts.jobs.body_hash`` of exactly that body. So, under one
idempotency key, these make another request (and a conflict): route, messages, tools, generation settings, lane,
priority, session, max_cost, tags. These do not: deadline, not_before, stream.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel, ValidationError

from job_contracts import subjects
from job_contracts.chat import Conversation, ImagePart, JsonSchemaFormat
from job_contracts.codec import dotted, encode
from job_contracts.jobs import BlobRef, Job, Need, Ticket, body_hash
from producer_sdk.errors import InvalidRequest
from producer_sdk.estimates import input_tokens
from producer_sdk.generation import settings, tool_list
from producer_sdk.messages import turns
from producer_sdk.options import JOB_OPTIONS, SETTINGS

LOOKS_ABSOLUTE = 1e9
"""A number of seconds from now this large (31 years) is a Unix timestamp that somebody passed by mistake."""


@dataclass(frozen=True, slots=True)
class Request:
    """A job ready to be sent; ``keyed`` if its id comes from an idempotency key, so that it may exist already."""

    job: str
    body: bytes
    ticket: Ticket
    keyed: bool

    @property
    def header(self) -> str:
        """The ticket as it travels in the header."""
        return encode(self.ticket).decode()

    def as_blob(self, ref: BlobRef) -> Request:
        """The same job with its body stored elsewhere."""
        return Request(self.job, b"", self.ticket.model_copy(update={"blob": ref}), self.keyed)


def prepare(
    model: str,
    messages: object,
    tools: object,
    options: Mapping[str, Any],
    *,
    stream: bool,
    new_id: str,
    token: str,
    now: float,
) -> Request:
    """Check a request and make body and ticket of it.

    ``new_id`` is used unless an idempotency key names the job; ``token`` is random; ``now`` is UTC seconds. Raises
    InvalidRequest with the path of the first field that is wrong and what to do about it.
    """
    of_settings, of_job = _sort_out(options)
    deadline = _moment(of_job.pop("deadline", None), now, "deadline")
    not_before = _moment(of_job.pop("not_before", None), now, "not_before")
    _check_times(deadline, not_before, now)
    key = of_job.get("idempotency_key")
    if key is not None and not isinstance(key, str):
        raise InvalidRequest(
            "idempotency_key: expected a string", field="idempotency_key", remedy="make idempotency_key a string"
        )
    values = {
        "id": subjects.keyed_job_id(key) if key else new_id,
        "route": model,
        "conversation": {
            "messages": turns(messages),
            "tools": tool_list(tools) if tools else (),
            "settings": settings(of_settings),
        },
    }
    values.update(of_job)
    job = _validated(values)
    body = encode(job)
    ticket = Ticket(
        route=job.route,
        lane=job.lane,
        priority=job.priority,
        deadline=deadline,
        not_before=not_before,
        submitted=now,
        token=token,
        body_hash=body_hash(body),
        input_estimate=input_tokens(job.conversation),
        max_output=job.conversation.settings.max_tokens,
        stream=stream,
        session=job.session,
        max_cost=job.max_cost,
        needs=needs(job.conversation),
    )
    return Request(job.id, body, ticket, keyed=key is not None)


def needs(conversation: Conversation) -> tuple[Need, ...]:
    """What a deployment must be able to do for this conversation."""
    chosen = conversation.settings
    found: list[Need] = []
    if conversation.tools:
        found.append("tools")
    if any(_has_image(turn.content) for turn in conversation.messages):
        found.append("images")
    if isinstance(chosen.response_format, JsonSchemaFormat):
        found.append("json_schema")
    if chosen.reasoning_effort not in (None, "none"):
        found.append("reasoning")
    if chosen.logprobs:
        found.append("logprobs")
    return tuple(found)


def _has_image(content: str | tuple[Any, ...]) -> bool:
    return not isinstance(content, str) and any(isinstance(part, ImagePart) for part in content)


def _sort_out(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    of_settings: dict[str, Any] = {}
    of_job: dict[str, Any] = {}
    for name, value in options.items():
        if name in SETTINGS:
            of_settings[name] = value
        elif name not in JOB_OPTIONS:
            raise InvalidRequest(
                f"{name}: unknown option", field=name, remedy=did_you_mean(name, SETTINGS | JOB_OPTIONS)
            )
        elif value is not None:
            of_job[name] = value
    if "tags" in of_job:
        of_job["tags"] = _tags(of_job["tags"])
    if "max_cost" in of_job:
        of_job["max_cost"] = _money(of_job["max_cost"], "max_cost")
    return of_settings, of_job


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that does not exist."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(names)}" if names else "there are none"


def _moment(when: object, now: float, field: str) -> float | None:
    """UTC seconds of a moment."""
    if when is None:
        return None
    if isinstance(when, timedelta):
        return now + when.total_seconds()
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise InvalidRequest(
                f"{field}: {when.isoformat()} has no time zone",
                field=field,
                remedy="use datetime.now(timezone.utc) + …",
            )
        return when.timestamp()
    if isinstance(when, bool) or not isinstance(when, (int, float)) or not math.isfinite(when):
        raise InvalidRequest(
            f"{field}: {when!r} is not a moment",
            field=field,
            remedy="give a datetime with a time zone, a timedelta, or seconds from now",
        )
    if when >= LOOKS_ABSOLUTE:
        raise InvalidRequest(
            f"{field}: {when!r} seconds from now is a Unix timestamp, not a delay",
            field=field,
            remedy="give seconds from now, or datetime.fromtimestamp(…, timezone.utc)",
        )
    return now + when


def _check_times(deadline: float | None, not_before: float | None, now: float) -> None:
    if deadline is None:
        return
    if deadline <= now:
        raise InvalidRequest(
            f"deadline: it passed {now - deadline:.3g} s ago", field="deadline", remedy="choose one in the future"
        )
    if not_before is not None and deadline <= not_before:
        raise InvalidRequest(
            "deadline: it is not later than not_before", field="deadline", remedy="move one of the two"
        )


def _tags(tags: object) -> dict[str, Any]:
    if not isinstance(tags, Mapping):
        raise InvalidRequest("tags: expected a mapping of strings", field="tags", remedy="write {'name': 'value'}")
    return {name: tags[name] for name in sorted(tags, key=str)}


def _money(amount: object, field: str) -> Decimal:
    try:
        exact = Decimal(str(amount))
        return Decimal(format(exact.normalize(), "f"))
    except (InvalidOperation, ValueError) as error:
        raise InvalidRequest(
            f"{field}: {amount!r} is not an amount", field=field, remedy="give US dollars, for example '0.05'"
        ) from error


def _validated(values: dict[str, Any]) -> Job:
    try:
        return Job.model_validate(values, extra="forbid")
    except ValidationError as error:
        raise explained(error, values) from error


_NAMES = {"route": "model"}
_NAMED_IN_TEXT = re.compile(r"^(?:Value error, )?(?:settings\.)?(?:([a-z_]+): )?(.*)$", re.DOTALL)
"""A validator that looks at several fields at once names the one it means in its message."""


def explained(error: ValidationError, values: Mapping[str, Any]) -> InvalidRequest:
    """Pydantic's report on ``values`` as one error that names the field as its author wrote it.

    Of the reports on the members of a union the one that got furthest is about the member that was meant.
    """
    reports = error.errors(include_url=False, include_context=False, include_input=False)
    paths = [_real_path(report["loc"], values, missing=report["type"] == "missing") for report in reports]
    at = max(range(len(reports)), key=lambda index: (len(paths[index]), -index))
    kind, path, said = reports[at]["type"], paths[at], reports[at]["msg"]
    if path[:1] == ("conversation",):
        path = path[2:] if path[1:2] == ("settings",) else path[1:]
    field = dotted([_NAMES.get(str(path[0]), path[0]), *path[1:]]) if path else ""
    if kind == "value_error" and (match := _NAMED_IN_TEXT.match(said)):
        field, said = field or match[1] or "", match[2]
    message = f"{field}: {said}" if field else said
    remedy = {"missing": f"add {field}", "extra_forbidden": "remove it, or check its spelling"}.get(
        kind, f"correct {field}" if field else "correct the request"
    )
    return InvalidRequest(message, field=field or None, remedy=remedy)


def _real_path(location: tuple[str | int, ...], values: object, *, missing: bool) -> tuple[str | int, ...]:
    """Pydantic's location without the names of union members it tried, which exist in no request."""
    path: list[str | int] = []
    here = values
    for at, part in enumerate(location):
        if isinstance(part, int):
            if isinstance(here, (list, tuple)) and part < len(here):
                here = here[part]
                path.append(part)
        elif isinstance(here, Mapping) and part in here:
            here = here[part]
            path.append(part)
        elif isinstance(here, BaseModel) and part in type(here).model_fields:
            here = getattr(here, part)
            path.append(part)
        elif missing and at == len(location) - 1:
            path.append(part)
    return tuple(path)
