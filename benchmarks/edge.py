"""The HTTP edge: requests and streamed chunks a second, the CPU each costs, and what is added to a provider's own time.

    python -m benchmarks.edge [--quick] [--sync default,always] [--litellm PYTHON] [--portkey DIR] [--json FILE]

Everything runs on this machine over loopback, before the same simulated provider: the load comes from a process of its
own (``edge_load``) whose CPU is not counted, nor is the simulator's; the broker's is. Others are measured beside it in
the same run where they are given: LiteLLM's proxy by an interpreter that has it, Portkey's gateway by the folder that
``npm install @portkey-ai/gateway`` filled. Compare ratios of one run, not figures of different days.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.edge_load import Found
from benchmarks.edge_systems import PACE, SPOKEN, TOKENS, System, direct, litellm, ours, portkey, simulator

PROMPT = "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 23
"""About 1 KB."""
STREAMS = 1_000
BOUND = 600.0
"""Seconds that one measurement may take."""


@dataclass
class Row:
    """One measurement of one system; ``cpu_ms`` is CPU per request (or chunk) by process, milliseconds."""

    what: str
    system: str
    figure: float
    unit: str
    target: str = ""
    cpu_ms: dict[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Length:
    """How long to measure: everything, or enough for a look."""

    seconds: float = 8.0
    paced: float = 10.0
    soak: int = 100_000


QUICK = Length(seconds=2.0, paced=3.0, soak=3_000)


def load(system: System, what: str, *, stream: bool = False, **order: Any) -> tuple[Found, dict[str, float]]:
    """Send a system requests for ``what``; what came of it, and seconds of CPU by process meanwhile."""
    body: dict[str, Any] = {"model": system.models[what], "messages": [{"role": "user", "content": PROMPT}]}
    if stream:
        body["stream"] = True
    told = {"url": f"{system.urls[what]}/chat/completions", "body": body, "headers": system.headers[what], **order}
    command = [sys.executable, "-m", "benchmarks.edge_load", json.dumps(told)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        if child.stdout is None:
            raise RuntimeError
        _expected(child.stdout.readline(), "begin")
        before = system.cpu()
        _expected(child.stdout.readline(), "end")
        after = system.cpu()
        found = Found(**json.loads(child.stdout.readline()))
        child.wait(BOUND)
    return found, {name: after[name] - before.get(name, 0.0) for name in after}


def _expected(line: str, word: str) -> None:
    if line.strip() != word:
        raise SystemExit(f"the load ended early: {line!r}")


def _each(cpu: dict[str, float], count: int) -> dict[str, float]:
    used = {name: seconds * 1000 / max(count, 1) for name, seconds in cpu.items()}
    return {**{name: round(value, 4) for name, value in used.items()}, "all": round(sum(used.values()), 4)}


def _note(found: Found, text: str) -> str:
    failed = f"; {found.failed} FAILED: {found.why[:120]!r}" if found.failed else ""
    return f"{text}{failed}"


def _times(found: Found) -> str:
    return f"p50 {found.whole.get('p50', 0):.1f} ms, p99 {found.whole.get('p99', 0):.1f} ms"


# -- what is measured


def requests(system: System, length: Length) -> Iterator[Row]:
    """Whole answers at 0 ms, 64 in flight."""
    found, cpu = load(system, "quick", in_flight=64, seconds=length.seconds, warm=2.0)
    rate = round(found.done / found.seconds)
    note = _note(found, f"64 in flight, {_times(found)}")
    yield Row("chat, not streamed", system.name, rate, "requests/s", ">= 1,200", _each(cpu, found.done), note)
    yield Row("CPU a request", system.name, _each(cpu, found.done)["all"], "ms", "<= 0.85")


def chunks(system: System, length: Length) -> Iterator[Row]:
    """Answers of 256 tokens that the provider sends at once, each token an event of its own; 64 streams."""
    found, cpu = load(system, "burst", stream=True, in_flight=64, seconds=length.seconds, warm=2.0)
    carried = max(found.done * TOKENS, found.events)  # where events are joined, what is whole; else what came
    told = f"64 streams at once; {found.events / max(1, found.done):.0f} events an answer, {_times(found)}"
    rate = round(carried / found.seconds)
    what = "streamed chunks carried"
    yield Row(what, system.name, rate, "chunks/s", ">= 20,000", _each(cpu, carried), _note(found, told))


def slow(system: System, length: Length) -> Iterator[Row]:
    """A thousand in flight at half a second each: ideally 2,000 a second."""
    found, cpu = load(system, "slow", in_flight=1_000, seconds=length.seconds, warm=1.0, spread=1.0)
    rate = round(found.done / found.seconds)
    note = _note(found, _times(found))
    what = "1,000 in flight at 500 ms"
    yield Row(what, system.name, rate, "requests/s", ">= 1,500", _each(cpu, found.done), note)


def added(system: System, bare: System, length: Length) -> Iterator[Row]:
    """What is added to whole answers and to first tokens at a fixed pace, over the simulator itself."""
    pace: dict[str, Any] = {"rate": 100.0, "seconds": length.paced, "warm": 1.0}
    through, _ = load(system, "quick", **pace)
    plain, _ = load(bare, "quick", **pace)
    for name, target in (("p50", "<= 6"), ("p99", "<= 20")):
        figure = round(through.whole.get(name, 0.0) - plain.whole.get(name, 0.0), 2)
        note = _note(through, f"{through.whole.get(name, 0):.1f} against {plain.whole.get(name, 0):.1f} ms directly")
        yield Row(f"added at 100 requests/s, {name}", system.name, figure, "ms", target, note=note)
    pace["rate"] = 20.0
    through, _ = load(system, "burst", stream=True, **pace)
    plain, _ = load(bare, "burst", stream=True, **pace)
    figure = round(through.first.get("p50", 0.0) - plain.first.get("p50", 0.0), 2)
    note = _note(through, f"{through.first.get('p50', 0):.1f} against {plain.first.get('p50', 0):.1f} ms directly")
    yield Row("added to the first token, p50", system.name, figure, "ms", "<= 5", note=note)


def many(system: System, bare: System, length: Length) -> Iterator[Row]:
    """A thousand streams at once, each of 256 tokens, one every 33 ms."""
    lasts = TOKENS / PACE
    order: dict[str, Any] = {"in_flight": STREAMS, "spread": lasts, "seconds": max(lasts, length.seconds)}
    through, cpu = load(system, SPOKEN, stream=True, **order)
    plain, _ = load(bare, SPOKEN, stream=True, **order)
    figure = round(through.first.get("p99", 0.0) - plain.first.get("p99", 0.0), 1)
    note = f"{through.done} answers; p99 {plain.first.get('p99', 0):.0f} ms directly"
    yield Row("added to the first token, p99", system.name, figure, "ms", "<= 100", note=_note(through, note))
    rate = round(through.events / through.seconds)
    told = f"{STREAMS} streams; {plain.events / plain.seconds:.0f} directly"
    yield Row("streamed events", system.name, rate, "events/s", ">= 20,000", _each(cpu, through.events), told)


def soak(system: System, length: Length) -> Iterator[Row]:
    """Resident memory after many requests, beside that after a tenth of them."""
    load(system, "quick", in_flight=64, count=length.soak // 10, warm=0.5)
    before = system.memory()
    found, _ = load(system, "quick", in_flight=64, count=length.soak, warm=0.5)
    after = system.memory()
    for name, size in after.items():
        note = _note(found, f"{size:.1f} MiB after {length.soak:,} requests")
        grown = round(size - before.get(name, 0.0), 1)
        yield Row(f"memory grown, {name}", system.name, grown, "MiB", "flat", note=note)


def measured(system: System, bare: System, length: Length, only: set[str]) -> Iterator[Row]:
    """All rows of one system that are asked for."""
    rows: dict[str, Callable[[], Iterator[Row]]] = {
        "requests": lambda: requests(system, length),
        "slow": lambda: slow(system, length),
        "added": lambda: added(system, bare, length),
        "many": lambda: many(system, bare, length),
        "chunks": lambda: chunks(system, length),
    }
    for name, of in rows.items():
        if not only or name in only:
            yield from of()


def show(row: Row) -> None:
    """A row of the table, on stdout."""
    target = f"({row.target})" if row.target else ""
    sys.stdout.write(f"{row.what:46} {row.system:17} {row.figure:>10} {row.unit:11} {target:12} {row.note}\n")
    if row.cpu_ms:
        parts = "  ".join(f"{name} {value:.3f}" for name, value in row.cpu_ms.items())
        sys.stdout.write(f"{'':46} CPU ms each: {parts}\n")
    sys.stdout.flush()


@contextmanager
def _named(name: str, system: AbstractContextManager[System]) -> Iterator[System]:
    with system as found:
        found.name = name
        yield found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements, for a look")
    parser.add_argument("--sync", default="default,always", help="how the broker stores")
    parser.add_argument("--only", default="", help="rows, with commas: requests, slow, added, many, chunks, soak")
    parser.add_argument("--litellm", metavar="PYTHON", help="an interpreter that has litellm[proxy]")
    parser.add_argument("--portkey", metavar="DIR", help="where npm has put @portkey-ai/gateway")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    length, only = QUICK if arguments.quick else Length(), {one for one in arguments.only.split(",") if one}
    rows: list[Row] = []

    def note(found: Iterator[Row]) -> None:
        for row in found:
            show(row)
            rows.append(row)

    with simulator() as bases, direct(bases) as bare:
        for sync in arguments.sync.split(","):
            with _named(f"penstock, {sync}", ours(bases, sync)) as system:
                note(measured(system, bare, length, only))
                if not only or "soak" in only:
                    note(soak(system, length))
            if not only or "many" in only:
                # A worker joins what comes within 30 ms. Here every event of the provider travels by itself.
                alone = {"coalesce": 0.001, "coalesce_bytes": 1, "smoothing": False}
                with _named(f"one by one, {sync}", ours(bases, sync, workers=alone)) as system:
                    note(many(system, bare, length))
        beside = []
        if arguments.litellm:
            beside.append(litellm(arguments.litellm, bases))
        if arguments.portkey:
            beside.append(portkey(arguments.portkey, bases))
        for other in beside:
            with other as system:
                note(measured(system, bare, length, only))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
