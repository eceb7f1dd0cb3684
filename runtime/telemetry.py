"""Emit once: a process tells named events with fields, and metrics, logs and tests subscribe to them.

    telemetry = Telemetry()
    metrics = Metrics("workers"); metrics.listen(telemetry, INSTRUMENTS)
    write_logs(telemetry, "workers", sys.stdout.write)
    telemetry.emit("attempt.ended", deployment="a/b", outcome="succeeded", seconds=0.8)
    telemetry.emit("pool.started", INFO, pool="a")

An event's level decides whether it becomes a log line; metrics see every level. Hot-path events stay at ``DEBUG``: one
dictionary look-up when nobody listens. Fields hold ids, names and numbers, never content, headers or secrets.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.clock import Clock, SystemClock

__all__ = [
    "COMMON",
    "DEBUG",
    "ERROR",
    "INFO",
    "SECONDS",
    "TRACE",
    "WARNING",
    "Event",
    "Instrument",
    "Metrics",
    "Telemetry",
    "count",
    "level",
    "measure",
    "write_logs",
]

SECONDS = tuple(0.01 * 2**n for n in range(17))
"""Histogram bounds for durations of calls, 10 ms to 655 s: the convention for model calls, extended for reasoning."""

OTHER = "other"

TRACE: ContextVar[str | None] = ContextVar("trace", default=None)
"""Id of the trace that is worked on here, for the log: set in the task of an attempt or a request that has one."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a dotted name, a level of ``logging``, and fields."""

    name: str
    level: int
    fields: Mapping[str, Any]


Listener = Callable[[Mapping[str, Any]], None]
Subscriber = Callable[[Event], None]


class Telemetry:
    """One process's events and who listens to them. A listener that raises is removed and reported, never obeyed."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[Listener, ...]] = {}
        self._all: tuple[tuple[int, Subscriber], ...] = ()
        self._floor = sys.maxsize

    def emit(self, name: str, severity: int = DEBUG, /, **fields: Any) -> None:
        """Tell an event to all who listen. Never raises."""
        listeners = self._named.get(name)
        if listeners is not None:
            for listener in listeners:
                try:
                    listener(fields)
                except Exception as error:  # noqa: BLE001 - the top of the listeners' loop: they must not stop the work
                    self._named[name] = tuple(other for other in self._named[name] if other is not listener)
                    self._failed(name, error)
        if severity >= self._floor:
            event = Event(name, severity, fields)
            for lowest, subscriber in self._all:
                if severity >= lowest:
                    try:
                        subscriber(event)
                    except Exception as error:  # noqa: BLE001 - as above
                        self._remove(subscriber)
                        self._failed(name, error)

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with the fields of every event of that name; returns how to stop it."""
        self._named[name] = (*self._named.get(name, ()), listener)

        def stop() -> None:
            left = tuple(other for other in self._named.get(name, ()) if other is not listener)
            if left:
                self._named[name] = left
            else:
                self._named.pop(name, None)

        return stop

    def subscribe(self, subscriber: Subscriber, *, lowest: int = DEBUG) -> Callable[[], None]:
        """Call ``subscriber`` with every event of level ``lowest`` or above; returns how to stop it."""
        self._all = (*self._all, (lowest, subscriber))
        self._floor = min(lowest for lowest, _ in self._all)
        return lambda: self._remove(subscriber)

    def _remove(self, subscriber: Subscriber) -> None:
        self._all = tuple(entry for entry in self._all if entry[1] is not subscriber)
        self._floor = min((lowest for lowest, _ in self._all), default=sys.maxsize)

    def _failed(self, name: str, error: Exception) -> None:
        self.emit("telemetry.listener_failed", ERROR, event=name, error=type(error).__name__)


# -- metrics


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric and the event it is read from; made by ``count``, ``measure`` and ``level``."""

    kind: Literal["count", "measure", "level"]
    name: str
    on: str
    help: str
    labels: tuple[str, ...] = ()
    """Fields of the event that become labels. Never an id of a job, a key or a person."""
    value: str | None = None
    """Field that holds the amount; ``None`` counts 1."""
    buckets: tuple[float, ...] = SECONDS
    series: int = 500
    """Label combinations at most; what comes later is counted under ``other``."""


def count(name: str, on: str, help: str, *labels: str, value: str | None = None, series: int = 500) -> Instrument:
    """A counter ``name`` (without ``_total``) that grows by 1, or by field ``value``, at each event ``on``."""
    return Instrument("count", name, on, help, labels, value, series=series)


def measure(
    name: str, on: str, help: str, *labels: str, value: str, buckets: tuple[float, ...] = SECONDS, series: int = 200
) -> Instrument:
    """A histogram of field ``value``; an event where it is ``None`` or missing is passed over."""
    return Instrument("measure", name, on, help, labels, value, buckets, series)


def level(name: str, on: str, help: str, *labels: str, value: str, series: int = 500) -> Instrument:
    """A gauge that holds the last field ``value``."""
    return Instrument("level", name, on, help, labels, value, series=series)


COMMON = (
    count("duties_failed", "duty.failed", "Duties that ended by a bug, and the process with them", "duty"),
    count("listeners_failed", "telemetry.listener_failed", "Listeners that were dropped because they failed", "event"),
)
"""What every process measures."""


class Metrics:
    """The process's Prometheus registry, one scrape target: names start ``penstock_``, series are bounded."""

    def __init__(self, process: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        info = Gauge("penstock_process_info", "Which process this is", ["process"], registry=self.registry)
        info.labels(process).set(1)
        build = Gauge("penstock_build_info", "Which version this is", ["version"], registry=self.registry)
        build.labels(_version()).set(1)
        told = "Which configuration this process has, as far as all services must agree on it"
        self._configuration = Gauge("penstock_configuration_info", told, ["fingerprint"], registry=self.registry)
        self._forget: list[Callable[[], None]] = []

    def configured(self, fingerprint: str) -> None:
        """Tell which configuration the process has."""
        self._configuration.labels(fingerprint).set(1)

    def listen(self, telemetry: Telemetry, instruments: Iterable[Instrument]) -> None:
        """Create the instruments' metrics and keep them current."""
        groups: dict[tuple[str, tuple[str, ...]], list[Instrument]] = {}
        for instrument in instruments:
            groups.setdefault((instrument.on, instrument.labels), []).append(instrument)
        for (event, labels), group in groups.items():
            listener, forget = _listener(group, labels, self.registry)
            telemetry.on(event, listener)
            self._forget.append(forget)

    def forget_levels(self, telemetry: Telemetry, on: str) -> None:
        """At each event ``on`` forget the levels told so far: what they tell of is no longer this process's to tell."""

        def forget(_: Mapping[str, Any]) -> None:
            for one in self._forget:
                one()

        telemetry.on(on, forget)

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """A gauge ``penstock_<name>`` that is read when it is scraped."""
        Gauge(f"penstock_{name}", help, registry=self.registry).set_function(read)

    def family(self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """A gauge with one label whose series are what ``read`` returns when scraped: none is left of the past."""
        self.registry.register(_Family(f"penstock_{name}", help, label, read))

    def exposition(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body in the format the scraper accepts."""
        encoder, content_type = choose_encoder(accept)
        return content_type, encoder(self.registry)


class _Family(Collector):
    """What ``Metrics.family`` shows."""

    def __init__(self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._help, self._label, self._read = name, help, label, read

    def describe(self) -> Iterable[Metric]:
        """Asked when it is registered, before anything can be read."""
        return [GaugeMetricFamily(self._name, self._help, labels=[self._label])]

    def collect(self) -> Iterable[Metric]:
        """As it is now."""
        family = GaugeMetricFamily(self._name, self._help, labels=[self._label])
        for value, amount in self._read().items():
            family.add_metric([value], amount)
        return [family]


Update = Callable[[float], None]


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "unknown"


def _listener(
    group: Sequence[Instrument], labels: tuple[str, ...], registry: CollectorRegistry
) -> tuple[Listener, Callable[[], None]]:
    """What turns one event into the metrics of all instruments that share its labels, and what forgets their levels.

    What a combination of labels updates is looked up once and kept, so an event costs one look-up and the updates.
    """
    metrics = [_metric(instrument, registry) for instrument in group]
    values = [instrument.value for instrument in group]
    room = min(instrument.series for instrument in group)
    known: dict[tuple[Any, ...], list[tuple[str | None, Update]]] = {}

    def updates(key: tuple[Any, ...]) -> list[tuple[str | None, Update]]:
        if len(known) >= room and labels:
            key = (OTHER,) * len(labels)
            if key in known:
                return known[key]
        names = [str(part) for part in key]
        children = [metric.labels(*names) if labels else metric for metric in metrics]
        known[key] = list(zip(values, map(_update, children), strict=True))
        return known[key]

    def listen(fields: Mapping[str, Any]) -> None:
        key = tuple([fields.get(label, "") for label in labels])
        for value, update in known.get(key) or updates(key):
            amount = 1 if value is None else fields.get(value)
            if amount is not None:
                update(amount)

    def forget() -> None:
        for metric in metrics:
            if isinstance(metric, Gauge) and labels:
                metric.clear()
            elif isinstance(metric, Gauge):
                metric.set(0)
        if labels:
            known.clear()

    if not labels:
        updates(())
    return listen, forget


def _metric(instrument: Instrument, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name, words, labels = f"penstock_{instrument.name}", instrument.help, instrument.labels
    match instrument.kind:
        case "count":
            return Counter(name, words, labels, registry=registry)
        case "level":
            return Gauge(name, words, labels, registry=registry)
        case "measure":
            return Histogram(name, words, labels, registry=registry, buckets=instrument.buckets)


def _update(child: Counter | Gauge | Histogram) -> Update:
    if isinstance(child, Counter):
        return child.inc
    return child.set if isinstance(child, Gauge) else child.observe


# -- logs


def write_logs(
    telemetry: Telemetry,
    process: str,
    write: Callable[[str], object],
    *,
    lowest: int = INFO,
    clock: Clock | None = None,
) -> Callable[[], None]:
    """One JSON object a line for each event of level ``lowest`` or above, and for what libraries log; returns the undo.

    Of a library's record only level, logger, message template and the exception's type are written: its arguments may
    hold headers, addresses with keys, or content. A record without arguments may be such a text put together before:
    then it is told where it comes from, not what it says.
    """
    clock = clock or SystemClock()

    def line(name: str, severity: int, fields: Mapping[str, Any]) -> None:
        head = {"at": round(clock.wall(), 3), "level": logging.getLevelName(severity).lower()}
        record = {**head, "process": process, "event": name, **fields}
        trace = TRACE.get()
        if trace is not None:
            record.setdefault("trace_id", trace)
        write(json.dumps(record, default=str, ensure_ascii=False) + "\n")

    stop = telemetry.subscribe(lambda event: line(event.name, event.level, event.fields), lowest=lowest)
    handler = _LibraryRecords(line)
    handler.setLevel(max(lowest, WARNING))
    logging.getLogger().addHandler(handler)

    def undo() -> None:
        stop()
        logging.getLogger().removeHandler(handler)

    return undo


_OURS = "runtime."
"""Loggers of ours: their texts are names of events."""


class _LibraryRecords(logging.Handler):
    """Hands on what libraries log, without the arguments."""

    def __init__(self, line: Callable[[str, int, Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        fields = {"logger": record.name}
        if record.args or record.name.startswith(_OURS):
            fields["template"] = str(record.msg)[:500]
        else:
            fields["place"] = f"{record.filename}:{record.lineno}"
        self._line("library.logged", record.levelno, {**fields, "error": error} if error else fields)
