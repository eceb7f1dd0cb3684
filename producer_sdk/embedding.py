"""Many texts into vectors: as many jobs as it takes, under way at once, put together in the order of the texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from job_contracts.chat import Usage
from job_contracts.embeddings import MOST_INPUTS, unpacked
from job_contracts.results import Result
from producer_sdk.errors import InvalidRequest, PenstockError
from producer_sdk.estimates import text_tokens
from producer_sdk.request import input_list, moment, money

if TYPE_CHECKING:
    from producer_sdk.answers import Answered

BATCH = 96
"""Texts in a job unless the caller says otherwise: what the provider with the smallest batches takes, or nearly."""
AT_ONCE = 64
"""Jobs under way at once."""

One = Callable[[Sequence[str], Mapping[str, Any], float | None], Coroutine[Any, Any, "Answered"]]
"""Embeds one batch: its texts, the job's options, seconds to wait."""


class EmbeddingResult:
    """The vectors of an ``embed``, in the order of its inputs, and what they cost."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results: tuple[Result, ...] = tuple(results)
        """The jobs' terminal records, in the order of their inputs."""

    @cached_property
    def data(self) -> tuple[str, ...]:
        """The vectors as they travel: base64 of little-endian 32-bit floats."""
        return tuple(one for result in self.results if result.embeddings for one in result.embeddings.data)

    @cached_property
    def vectors(self) -> list[tuple[float, ...]]:
        """The vectors as floats."""
        return [unpacked(one) for one in self.data]

    @property
    def dimensions(self) -> int:
        """Numbers in each vector."""
        return next(result.embeddings.dimensions for result in self.results if result.embeddings)

    @property
    def usage(self) -> Usage:
        """Tokens of all jobs; ``reported`` if the providers told all of them."""
        each = [result.usage for result in self.results]
        return Usage(input=sum(one.input for one in each), reported=all(one.reported for one in each))

    @property
    def cost(self) -> Decimal | None:
        """US dollars of all jobs; ``None`` where one of them has no known price."""
        known = [result.cost for result in self.results if result.cost is not None]
        return sum(known, Decimal()) if len(known) == len(self.results) else None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answered, in their providers' words. Vectors of different models cannot be compared."""
        return tuple(dict.fromkeys(result.model for result in self.results if result.model))

    @property
    def model(self) -> str | None:
        """The model that answered, ``None`` if it was not one for all (see ``models``)."""
        return self.models[0] if len(self.models) == 1 else None

    @property
    def jobs(self) -> tuple[str, ...]:
        """Ids of the jobs."""
        return tuple(result.job for result in self.results)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"EmbeddingResult({len(self)} vectors of {self.dimensions}, model={self.model!r})"


async def embedded(
    one: One,
    inputs: object,
    *,
    batch_size: int,
    timeout: float | None,
    options: Mapping[str, Any],
    now: float,
) -> EmbeddingResult:
    """See ``Producer.embed``; ``one`` embeds a single batch."""
    texts = input_list(inputs)
    if not 1 <= batch_size <= MOST_INPUTS:
        message = f"batch_size: {batch_size!r} is not a number from 1 to {MOST_INPUTS}"
        raise InvalidRequest(message, field="batch_size", remedy=f"leave it out for {BATCH}")
    ranges = [range(at, min(at + batch_size, len(texts))) for at in range(0, len(texts), batch_size)]
    batches = [texts[part.start : part.stop] for part in ranges]
    asked = _shared_out(options, batches, now)
    if len(batches) == 1:
        return EmbeddingResult([(await one(batches[0], asked[0], timeout)).result])
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout if timeout is not None else None
    places = asyncio.Semaphore(AT_ONCE)
    errors: dict[int, PenstockError] = {}

    async def batch(at: int) -> Result:
        async with places:
            left = max(0.0, ends - loop.time()) if ends is not None else None
            try:
                return (await one(batches[at], asked[at], left)).result
            except PenstockError as error:
                errors[at] = error
                raise

    tasks: list[asyncio.Task[Result]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(batch(at)) for at in range(len(batches))]
    except* PenstockError:
        pass  # raised below, as itself and not as one of a group
    if errors:
        first = min(errors)
        raise _placed(errors[first], ranges[first])
    return _of_one_length([task.result() for task in tasks], ranges)


def _shared_out(options: Mapping[str, Any], batches: Sequence[Sequence[str]], now: float) -> list[dict[str, Any]]:
    """Each batch's options: one deadline for all, a key of its own for each, the money in proportion to the texts."""
    each: list[dict[str, Any]] = [dict(options) for _ in batches]
    if len(batches) == 1:
        return each
    for name in ("deadline", "not_before"):
        if options.get(name) is not None:
            at = moment(options[name], now, name)
            for one in each:
                one[name] = datetime.fromtimestamp(at or 0.0, UTC)
    key = options.get("idempotency_key")
    if isinstance(key, str) and key:
        for at, one in enumerate(each):
            one["idempotency_key"] = f"{key}#{at + 1}/{len(batches)}"
    if options.get("max_cost") is not None:
        whole = money(options["max_cost"], "max_cost")
        sizes = [sum(text_tokens(text) for text in texts) + len(texts) for texts in batches]
        for one, size in zip(each, sizes, strict=True):
            one["max_cost"] = (whole * Decimal(size) / Decimal(sum(sizes))).quantize(_SHARE, ROUND_DOWN)
    return each


_SHARE = Decimal("0.000000001")


def _placed(error: PenstockError, part: range) -> PenstockError:
    """The error of one batch, with which of the inputs it is about."""
    error.inputs = part
    error.message = f"inputs[{part.start}:{part.stop}]: {error.message}"
    return error


def _of_one_length(results: Sequence[Result], ranges: Sequence[range]) -> EmbeddingResult:
    """The result, unless the jobs were answered by models whose vectors do not even have the same length."""
    lengths = [result.embeddings.dimensions if result.embeddings else 0 for result in results]
    for length, result, part in zip(lengths, results, ranges, strict=True):
        if length != lengths[0]:
            message = f"{result.model} made vectors of {length} numbers, {results[0].model} of {lengths[0]}"
            remedy = "give dimensions, or route embeddings to deployments of one model"
            raise _placed(PenstockError(message, remedy=remedy, job=result.job), part)
    return EmbeddingResult(results)
