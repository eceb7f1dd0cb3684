"""Everything that can be done to a running simulator: read its books, break it, change its limits and its pace."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from simulator.batches import Batch
from simulator.clock import Clock
from simulator.exports import DAILY, Form, request_csv
from simulator.faults import Rule, parse_fault
from simulator.journal import Journal, Line
from simulator.limits import Domain
from simulator.listener import Listener
from simulator.meter import PICO, Bill, Meter, Sum, Usage
from simulator.provider import Provider
from simulator.reports import (
    AuditReport,
    BillLine,
    BillReport,
    Counts,
    DomainAudit,
    FaultOrder,
    FaultView,
    LimitAudit,
    LogLine,
    MeterReport,
    MeterRow,
    ProviderView,
)
from simulator.settings import BatchPace, Limits, ModelSettings, Pace, Price, ProviderSettings
from simulator.wire import SECRET_HEADERS


class UnknownProvider(KeyError):
    """No provider has that name; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


class Control:
    """The controls of one simulator. Providers are named as in the settings, models by their base name."""

    def __init__(
        self,
        providers: dict[str, Provider],
        listeners: dict[str, Listener],
        *,
        meter: Meter,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._providers = providers
        self._listeners = listeners
        self._meter = meter
        self._journal = journal
        self._clock = clock
        self._ids = itertools.count(1)
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # Reading

    def providers(self) -> tuple[ProviderView, ...]:
        return tuple(
            ProviderView(
                name=name,
                dialect=one.settings.dialect,
                base_url=self._listeners[name].url,
                listening=self._listeners[name].listening,
                in_progress=one.in_progress,
            )
            for name, one in self._providers.items()
        )

    def meter(self) -> MeterReport:
        """What has been billed: one row for each provider, key and model, and the total."""
        rows = tuple(
            MeterRow(provider=provider, key=key, model=model, **_counts(one))
            for (provider, key, model), one in self._meter.rows()
        )
        return MeterReport(total=Counts(**_counts(self._meter.total())), rows=rows)

    def bills(self) -> BillReport:
        """What each of the last requests was billed, the abandoned and broken ones too."""
        return BillReport(forgotten=self._meter.forgotten, lines=tuple(map(_billed, self._meter.bills())))

    def export(self, form: Form, provider: str | None = None) -> str:
        """The usage export of a provider, or of all together; see ``simulator.exports`` for the forms.

        Raises:
            UnknownProvider: no such provider.
        """
        if provider is not None:
            self._one(provider)
        if form == "requests":
            return request_csv(one for one in self._meter.bills() if provider in {None, one.provider})
        return DAILY[form](tuple(self._meter.days(provider)))

    def audit(self) -> AuditReport:
        """How the limits have been used, and by how many requests exceeded."""
        domains = tuple(
            _audited(name, key, group, domain)
            for name, one in self._providers.items()
            for (key, group), domain in sorted(one.domains.items())
        )
        return AuditReport(violations=sum(domain.refused for domain in domains), domains=domains)

    def log(self, last: int = 100) -> tuple[LogLine, ...]:
        """The last requests, in the order in which they ended."""
        return tuple(_logged(line) for line in self._journal.last(last))

    def faults(self) -> tuple[FaultView, ...]:
        now = self._clock.monotonic()
        return tuple(_viewed(rule) for one in self._providers.values() for rule in one.faults.rules(now))

    def settings(self, provider: str) -> ProviderSettings:
        """The settings of a provider as they stand."""
        return self._one(provider).settings

    # Breaking

    async def add_fault(self, order: FaultOrder) -> tuple[int, ...]:
        """Lay a fault; returns its ids, one for each provider. A fault ``refused`` has closed the port on return.

        Raises:
            UnknownProvider: no such provider.
            UnknownFault: no such fault.
        """
        fault = parse_fault(order.fault, probability=order.probability, times=order.times, after=order.after)
        until = None if order.seconds is None else self._clock.monotonic() + order.seconds
        ids: list[int] = []
        for one in self._chosen(order.provider):
            ids.append(next(self._ids))
            one.faults.add(Rule(ids[-1], fault, one.settings.name, order.models, order.key, until))
        await self._settle_listeners()
        if order.seconds is not None and fault.family == "listener":
            self._settle_later(order.seconds)
        return tuple(ids)

    async def remove_fault(self, id: int) -> bool:
        """Whether there was such a fault."""
        found = sum(one.faults.remove(id) for one in self._providers.values()) > 0
        await self._settle_listeners()
        return found

    async def clear_faults(self, provider: str | None = None) -> None:
        """Remove every fault, of one provider or of all."""
        for one in self._chosen(provider):
            one.faults.clear()
        await self._settle_listeners()

    # Changing

    def set_limits(self, provider: str, limits: Limits, *, model: str | None = None) -> None:
        """Enforce other limits from now on, for one model or for all without limits of their own. Windows restart."""
        self._change(provider, model, limits=limits)

    def set_pace(self, provider: str, pace: Pace, *, model: str | None = None) -> None:
        self._change(provider, model, pace=pace)

    def set_price(self, provider: str, price: Price, *, model: str | None = None) -> None:
        self._change(provider, model, price=price)

    def set_batches(self, provider: str, pace: BatchPace) -> None:
        """Let batches go like this from now on."""
        self._change(provider, None, batches=pace)

    def batches(self, provider: str) -> tuple[Batch, ...]:
        """The batches that were made, in their order."""
        return tuple(self._one(provider).batches.made.values())

    def set_keys(self, provider: str, keys: tuple[str, ...]) -> None:
        """Accept these API keys alone; none: any that is not empty."""
        self._change(provider, None, keys=keys)

    def reset_meter(self) -> None:
        self._meter.reset()

    def reset_audit(self) -> None:
        for one in self._providers.values():
            for domain in one.domains.values():
                domain.forget()

    def reset_log(self) -> None:
        self._journal.clear()

    async def reset(self) -> None:
        """Faults, books, audits and prompt caches as at the start; settings and spent limits stay."""
        await self.clear_faults()
        self.reset_meter()
        self.reset_log()
        for one in self._providers.values():
            one.forget()

    async def stop(self) -> None:
        """Forget what was to happen later."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _one(self, name: str) -> Provider:
        try:
            return self._providers[name]
        except KeyError:
            raise UnknownProvider(f"no provider is called `{name}`; there are {', '.join(self._providers)}") from None

    def _chosen(self, name: str | None) -> Iterator[Provider]:
        yield from self._providers.values() if name is None else (self._one(name),)

    def _change(self, provider: str, model: str | None, **changes: Any) -> None:
        one = self._one(provider)
        settings = one.settings
        if model is not None:
            own = settings.models.get(model, ModelSettings()).model_copy(update=changes)
            changes = {"models": {**settings.models, model: own}}
        one.configure(settings.model_copy(update=changes))

    async def _settle_listeners(self) -> None:
        """Close the ports that a fault wants closed, open the others."""
        now = self._clock.monotonic()
        for name, one in self._providers.items():
            listener = self._listeners[name]
            if one.faults.closes_listener(now):
                await listener.refuse()
            else:
                await listener.open()

    def _settle_later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()

        def settle() -> None:
            self._timers.discard(timer)
            task = loop.create_task(self._settle_listeners())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        timer = loop.call_later(seconds + 0.001, settle)
        self._timers.add(timer)


def _counts(one: Sum) -> dict[str, Any]:
    return {
        "requests": one.requests,
        "ok": one.ok,
        "rate_limited": one.rate_limited,
        "refused": one.refused,
        "failed": one.failed,
        "broken": one.broken,
        "aborted": one.aborted,
        "input_tokens": one.input,
        "cached_read_tokens": one.cached_read,
        "cache_write_tokens": one.cache_write,
        "output_tokens": one.output,
        "reasoning_tokens": one.reasoning,
        "cost_usd": one.cost_usd,
    }


def _billed(one: Bill) -> BillLine:
    usage = one.usage or Usage()
    return BillLine(
        at=one.at,
        provider=one.provider,
        model=one.model,
        request_id=one.request_id,
        outcome=one.outcome,
        input_tokens=usage.all_input,
        cached_read_tokens=usage.cached_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.all_output,
        reasoning_tokens=usage.reasoning,
        cost_usd=Decimal(one.cost) / PICO,
    )


def _audited(provider: str, key: str, group: str, domain: Domain) -> DomainAudit:
    limits = tuple(
        LimitAudit(
            dimension=dimension,
            limit=watch.limit,
            period=watch.period,
            total=watch.total,
            most=watch.most,
            burst=watch.burst,
            refused=watch.refused,
        )
        for dimension, watch in domain.watches.items()
    )
    return DomainAudit(
        provider=provider,
        key=key,
        group=group,
        admitted=domain.admitted,
        refused=domain.refused,
        early_retries=domain.early_retries,
        in_progress=domain.in_progress,
        most_in_progress=domain.concurrency.most,
        limits=limits,
    )


def _logged(line: Line) -> LogLine:
    shown = {name: value for name, value in line.headers.items() if name not in SECRET_HEADERS}
    return LogLine(
        at=line.at,
        seconds=line.seconds,
        provider=line.provider,
        key=line.key,
        model=line.model,
        method=line.method,
        path=line.path,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in shown.items()},
        stream=line.stream,
        status=line.status,
        outcome=line.outcome,
        fault=line.fault,
        input_tokens=0 if line.usage is None else line.usage.all_input,
        output_tokens=0 if line.usage is None else line.usage.all_output,
        cost_usd=Decimal(line.cost) / PICO,
    )


def _viewed(rule: Rule) -> FaultView:
    fault = rule.fault
    return FaultView(
        id=rule.id,
        provider=rule.provider,
        fault=str(fault.status) if fault.kind == "status" else fault.kind,
        amount=fault.amount,
        models=rule.models,
        key=rule.key,
        probability=fault.probability,
        times=fault.times,
        after=fault.after,
        met=rule.met,
        struck=rule.struck,
    )
