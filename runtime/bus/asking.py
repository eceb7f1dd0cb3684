"""Questions to the broker's API, and which of them are asked again when their answer is late."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runtime.bus.answers import silent
from runtime.bus.link import Link
from runtime.bus.port import OutcomeUnknown
from runtime.bus.replies import api
from runtime.bus.wire import Arrival

AGAIN = 1.0
"""Seconds a question may wait that could as well be asked again."""


def patiences(within: float) -> tuple[float, float, float]:
    """How long to wait for each of three questions that together may take ``within`` seconds."""
    first = min(AGAIN, within / 3)
    return first, first, within - 2 * first


async def ask(link: Link, operation: str, body: Mapping[str, object], within: float) -> Arrival:
    """Ask once (``operation`` without its prefix). Raises OutcomeUnknown when no answer comes, and Unreachable."""
    subject = f"$JS.API.{operation}"
    answer = await link.ask(subject, json.dumps(body).encode() if body else b"", timeout=within)
    if answer is None:
        raise silent(subject, within)
    return answer


async def look(link: Link, operation: str, body: Mapping[str, object], within: float) -> Arrival:
    """A question that changes nothing and is answered at once: asked again when its answer is late.

    The leader of a shard asks before each batch; one question lost with a node that retires would hold up all work.
    """
    first = min(AGAIN, within / 2)
    try:
        return await ask(link, operation, body, first)
    except OutcomeUnknown:
        return await ask(link, operation, body, within - first)


def answered(answer: Arrival, operation: str) -> dict[str, Any]:
    """What the API said. Raises as ``port.Bus.append`` does."""
    subject = f"$JS.API.{operation}"
    if answer.status:
        raise OutcomeUnknown(f"{subject}: nobody answers for JetStream at the moment")
    return api(answer.data, subject)
