"""Puts a worker together from its parts: used by ``__main__``, by tests and by benchmarks alike."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from catalogue.rows import ProviderRow
from catalogue.tiers import at_tier, tier_of
from job_contracts import subjects
from runtime.agreed import configured
from runtime.bus.port import Bus
from runtime.clock import Clock
from runtime.service import Startable
from runtime.settings import Config
from runtime.settings.routing import Provider
from runtime.settings.services import Workers
from runtime.telemetry import Telemetry
from workers.answers.expected import Answers
from workers.auth import credentials
from workers.batching.desk import Desk
from workers.batching.upstream import BatchUpstream, Tier
from workers.batching.way import Way
from workers.books import Books
from workers.dialects.batches import BATCHES
from workers.dialects.batches.port import BatchApi
from workers.dialects.port import Dialect
from workers.endpoint import Endpoint, row_of
from workers.fetching import Fetcher
from workers.guarding import Guard
from workers.heartbeats import Heartbeats
from workers.http import Upstream
from workers.images import Images
from workers.observing import Observer
from workers.pool import Pool
from workers.reporting import Reporter
from workers.sent import Sent
from workers.signing import signer_of
from workers.smoothing import Smoothing
from workers.streaming import Streams
from workers.transport import AiohttpTransport

__all__ = ["Worker", "WrongPool", "assemble"]

SETTLE = 5.0
"""Seconds after which a batch that was made is in its provider's list, at most."""


class WrongPool(ValueError):
    """The pool that was asked for is no provider of the configuration, or its provider cannot be called."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's duties, in the order they are started."""

    streams: Streams
    books: Books
    heartbeats: Heartbeats
    pool: Pool
    upstream: Upstream
    answers: Answers
    desk: Desk | None = None
    """Where the answers of a batch API are waited for."""

    @property
    def duties(self) -> tuple[Startable, ...]:
        """Start in this order; pool and desk stop first, the books after everything that could still cost."""
        desk = () if self.desk is None else (self.desk,)
        way = _Way(self.upstream, self.answers)
        return way, self.streams, self.books, self.heartbeats, self.pool, *desk


class _Way:
    """The connections to the provider, and the process beside, as something that is closed at the end."""

    def __init__(self, upstream: Upstream, answers: Answers) -> None:
        self._upstream, self._answers = upstream, answers

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        await self._upstream.close()
        await self._answers.close()


def assemble(
    config: Config,
    *,
    pool: str,
    worker: str,
    bus: Bus,
    clock: Clock,
    telemetry: Telemetry,
    catalogue: Mapping[str, ProviderRow],
    dialects: Mapping[str, Dialect],
    transport: httpx.AsyncBaseTransport | None = None,
) -> Worker:
    """A worker of ``pool``; of the configuration's credentials it takes its own provider's.

    Raises WrongPool, or a ValueError of ``endpoint`` or ``auth``, if the provider is not known or cannot be called.
    """
    provider = config.providers.get(pool)
    if provider is None:
        message = f"there is no provider {pool!r} in the configuration (there are: {', '.join(config.providers)})"
        raise WrongPool(message)
    settings, shard = config.workers, config.scheduler.shard
    streams = Streams(bus, telemetry, coalesce=settings.coalesce, enough=settings.coalesce_bytes)
    row = row_of(pool, provider, catalogue)
    endpoint = Endpoint(
        row=row,
        dialects=dialects,
        upstream=_upstream(row, provider, settings, clock, transport),
        smoothing=Smoothing(provider, enabled=settings.smoothing),
        streams=streams,
        clock=clock,
        telemetry=telemetry,
        guard=Guard(
            pool,
            provider,
            _priced(pool, provider, catalogue),
            {name: project.constraints for name, project in config.projects.items()},
        ),
        sent=Sent(bus, telemetry),
        images=Images(Fetcher() if settings.fetch_images else None),
    )
    endpoint.prices.open()
    books = Books(bus, telemetry, pool=pool, worker=worker, batch=settings.facts, linger=settings.facts_linger)
    reporter = Reporter(
        bus,
        clock,
        telemetry,
        shard=shard,
        persist=settings.persist,
        sleep=asyncio.sleep,
        ttl=config.nats.result_ttl,
    )
    tier = None
    if provider.tier != "standard":
        tier = Tier(provider, row, default_deadline=config.scheduler.default_deadline)
    desk = _desk(bus, endpoint, provider, pool=pool, worker=worker, shard=shard)
    working = Pool(
        bus,
        endpoint,
        reporter,
        books,
        pool=pool,
        worker=worker,
        slots=provider.slots,
        shard=shard,
        settings=settings,
        tier=tier,
        desk=desk,
        observer=Observer(telemetry, vendor=provider.catalogue or pool, base_url=row.base_url, worker=worker),
    )
    heartbeats = Heartbeats(
        bus,
        clock,
        telemetry,
        working,
        pool=pool,
        worker=worker,
        every=settings.beat_every,
        configured=configured(config, clock.wall()),
    )
    working.stir = heartbeats.hurry
    return Worker(
        streams=streams,
        books=books,
        heartbeats=heartbeats,
        pool=working,
        upstream=endpoint.upstream,
        answers=endpoint.answers,
        desk=desk,
    )


def _priced(pool: str, provider: Provider, catalogue: Mapping[str, ProviderRow]) -> ProviderRow | None:
    """The catalogue's row, with the prices of the provider's tier."""
    known = catalogue.get(provider.catalogue or pool)
    return None if known is None else at_tier(known, tier_of(pool, provider, known))


def _upstream(
    row: ProviderRow, provider: Provider, settings: Workers, clock: Clock, transport: httpx.AsyncBaseTransport | None
) -> Upstream:
    transport = transport or AiohttpTransport(keep_alive=settings.keep_alive)
    signer = signer_of(row, provider.key, region=provider.region, clock=clock, transport=transport)
    sent = credentials(row, provider.key) if signer is None else {}
    kind = Upstream if _batches(row, provider) is None else BatchUpstream
    return kind(transport, row, sent, signer=signer, max_bytes=settings.max_response)


def _batches(row: ProviderRow, provider: Provider) -> BatchApi | None:
    """The batch API that the provider's tier goes by, if it goes by one."""
    tier = None if provider.tier == "standard" else row.tiers.get(provider.tier)
    return None if tier is None or not tier.api else BATCHES[tier.api]


def _desk(bus: Bus, endpoint: Endpoint, provider: Provider, *, pool: str, worker: str, shard: int) -> Desk | None:
    api, upstream = _batches(endpoint.row, provider), endpoint.upstream
    if api is None or not isinstance(upstream, BatchUpstream):
        return None
    desk = upstream.desk = Desk(
        bus,
        Way(upstream, api, settle=min(provider.batch.poll, SETTLE)),
        endpoint.clock,
        endpoint.telemetry,
        pool=pool,
        worker=worker,
        work=subjects.stream_name(subjects.WORK, shard),
        settings=provider.batch,
        most=upstream.max_bytes,
    )
    return desk
