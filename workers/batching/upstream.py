"""A batch API as a slow way to the provider: an attempt sends its request and has a reply when the batch has ended."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import httpx
from pydantic_core import from_json

from workers.http import Reply, Upstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.rows import ProviderRow
    from job_contracts.attempts import Assignment
    from runtime.settings.routing import Provider
    from workers.batching.desk import Desk
    from workers.dialects.port import Encoded

__all__ = ["BatchUpstream", "Tier"]


class BatchUpstream(Upstream):
    """What attempts see of the desk; ``desk`` is there before the first of them."""

    desk: Desk

    async def send(self, encoded: Encoded, *, attempt_id: str, connect: float) -> Reply:
        """Send the request with others; returns when its answer is there. Raises CallFailed."""
        came = await self.desk.ask(encoded, attempt_id, _model(encoded.body))
        headers = {**_told(came.headers), "content-type": "application/json"}
        return Reply(httpx.Response(came.status, headers=headers, content=came.body), self.max_bytes)

    def withdraw(self, attempt_id: str) -> bool:
        """The attempt is stopped; whether its request had not left."""
        return self.desk.withdraw(attempt_id)


class Tier:
    """What a tier changes in an assignment: how long is waited, and that nothing is streamed out of a batch."""

    __slots__ = ("_batch", "_default_deadline", "_spare", "_turnaround")

    def __init__(self, provider: Provider, row: ProviderRow, *, default_deadline: float) -> None:
        self._batch = provider.tier == "batch"
        known = None if provider.tier == "standard" else row.tiers.get(provider.tier)
        self._turnaround = provider.turnaround or (inf if known is None else known.turnaround)
        self._spare, self._default_deadline = provider.spare, default_deadline

    def suited(self, order: Assignment, wall: float, *, adopted: bool) -> Assignment:
        """The assignment as it is carried out at ``wall`` (UTC seconds). ``adopted``: its call was made long ago.

        It is taken back ``spare`` seconds before the job's deadline, so that another place can still answer in time.
        """
        deadline = order.submitted + self._default_deadline if order.deadline is None else order.deadline
        left = max(deadline - self._spare - wall, 1.0)
        total = left if self._batch else min(left, self._turnaround)
        changed: dict[str, object] = {
            "timeouts": order.timeouts.model_copy(update={"total": total, "first_token": total}),
            "stream": order.stream and not self._batch,
        }
        if adopted:
            changed["grant"] = order.grant.model_copy(update={"valid_for": inf})
        return order.model_copy(update=changed)


def _model(body: bytes) -> str:
    """Whose request it is: a batch holds those of one model."""
    value = from_json(body, cache_strings=False)
    return str(value.get("model", "")) if isinstance(value, dict) else ""


def _told(headers: Mapping[str, str]) -> dict[str, str]:
    """Of a refusal's headers only what is about waiting: the body has another length now."""
    return {name: value for name, value in headers.items() if name == "retry-after" or name.startswith("x-ratelimit")}
