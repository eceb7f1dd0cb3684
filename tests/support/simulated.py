"""Simulated providers for tests: the process, and the control interface over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from simulator.reports import (
    AuditReport,
    BillReport,
    FaultOrder,
    FaultReport,
    FaultView,
    Laid,
    LogLine,
    LogReport,
    MeterReport,
    Overview,
)
from simulator.settings import Limits, Pace, Price

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0


class SimulatorControl:
    """The control interface of a simulator in another process; the same words as ``simulator.Control``.

    Raises ``httpx.HTTPStatusError`` for an order that is refused; the message has the reason.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/_control", trust_env=False, timeout=10)

    async def overview(self) -> Overview:
        return Overview.model_validate_json(await self._ask("GET", ""))

    async def meter(self) -> MeterReport:
        return MeterReport.model_validate_json(await self._ask("GET", "/meter"))

    async def bills(self) -> BillReport:
        return BillReport.model_validate_json(await self._ask("GET", "/bills"))

    async def export(self, form: str, provider: str | None = None) -> str:
        only = "" if provider is None else f"&provider={provider}"
        return (await self._ask("GET", f"/export?form={form}{only}")).decode()

    async def audit(self) -> AuditReport:
        return AuditReport.model_validate_json(await self._ask("GET", "/audit"))

    async def log(self, last: int = 100) -> tuple[LogLine, ...]:
        return LogReport.model_validate_json(await self._ask("GET", f"/log?last={last}")).lines

    async def faults(self) -> tuple[FaultView, ...]:
        return FaultReport.model_validate_json(await self._ask("GET", "/faults")).faults

    async def add_fault(self, order: FaultOrder) -> tuple[int, ...]:
        return Laid.model_validate_json(await self._ask("POST", "/faults", order.model_dump(mode="json"))).ids

    async def remove_fault(self, id: int) -> None:
        await self._ask("DELETE", f"/faults/{id}")

    async def clear_faults(self, provider: str | None = None) -> None:
        await self._ask("DELETE", "/faults" if provider is None else f"/faults?provider={provider}")

    async def set_limits(self, provider: str, limits: Limits, *, model: str | None = None) -> None:
        await self._put("/limits", provider, model, limits=limits.model_dump(mode="json"))

    async def set_pace(self, provider: str, pace: Pace, *, model: str | None = None) -> None:
        await self._put("/pace", provider, model, pace=pace.model_dump(mode="json"))

    async def set_price(self, provider: str, price: Price, *, model: str | None = None) -> None:
        await self._put("/price", provider, model, price=price.model_dump(mode="json"))

    async def set_keys(self, provider: str, keys: tuple[str, ...]) -> None:
        await self._ask("PUT", "/keys", {"provider": provider, "keys": keys})

    async def reset_meter(self) -> None:
        await self._ask("DELETE", "/meter")

    async def reset_audit(self) -> None:
        await self._ask("DELETE", "/audit")

    async def reset_log(self) -> None:
        await self._ask("DELETE", "/log")

    async def reset(self) -> None:
        await self._ask("POST", "/reset")

    async def close(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _put(self, path: str, provider: str, model: str | None, **what: Any) -> None:
        await self._ask("PUT", path, {"provider": provider, "model": model, **what})

    async def _ask(self, method: str, path: str, body: Any = None) -> bytes:
        response = await self._client.request(method, path, json=body)
        if response.is_error:
            raise httpx.HTTPStatusError(response.text, request=response.request, response=response)
        return response.content


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A simulator in a process of its own. ``base_urls``: each provider's own port, without a path."""

    url: str
    base_urls: dict[str, str]
    control: SimulatorControl
    process: asyncio.subprocess.Process

    async def terminate(self) -> int:
        """Ask it to stop, as a supervisor would; returns its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)


@asynccontextmanager
async def simulator_process(*arguments: str) -> AsyncIterator[SimulatorProcess]:
    """Start ``python -m simulator --json`` with further arguments, wait until it is ready, stop it at the end."""
    process = await start_simulator(arguments)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT)
        assert line, f"the simulator ended with {await process.wait()} before it was ready"
        ready = json.loads(line)
        async with SimulatorControl(ready["url"]) as control:
            yield SimulatorProcess(ready["url"], ready["base_urls"], control, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def start_simulator(arguments: Sequence[str]) -> asyncio.subprocess.Process:
    """Start the process, with its standard output and error in pipes."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulator",
        "--json",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
