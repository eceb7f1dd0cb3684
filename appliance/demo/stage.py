"""Words with the simulator: break a provider, mend it, read its books."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from appliance.demo.books import Account, billed
from appliance.http import ask


@dataclass(frozen=True, slots=True)
class Billed:
    """What one provider counted: requests it answered in full, all it was asked, tokens and dollars it charges for."""

    ok: int
    requests: int
    input: int
    output: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Use:
    """How a provider's request limit was used: the most in any window, of how many, and how often it said 429."""

    most: int
    limit: int
    refused: int


class Stage:
    """The simulator's controls over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def break_(self, provider: str, fault: str) -> None:
        """Lay a fault on a provider; ``refused`` closes its port."""
        await self._do("POST", "/faults", {"provider": provider, "fault": fault})

    async def mend(self, provider: str) -> None:
        """Remove every fault of a provider."""
        await self._do("DELETE", f"/faults?provider={provider}")

    async def in_progress(self, provider: str) -> int:
        """Answers that a provider is giving right now."""
        overview = await self._do("GET", "")
        return sum(int(one["in_progress"]) for one in overview["providers"] if one["name"] == provider)

    async def billed(self) -> dict[str, Billed]:
        """The meter, by provider."""
        found: dict[str, Billed] = {}
        for row in (await self._do("GET", "/meter"))["rows"]:
            before = found.get(row["provider"], Billed(0, 0, 0, 0, Decimal(0)))
            found[row["provider"]] = Billed(
                ok=before.ok + row["ok"],
                requests=before.requests + row["requests"],
                input=before.input + row["input_tokens"] + row["cached_read_tokens"] + row["cache_write_tokens"],
                output=before.output + row["output_tokens"] + row["reasoning_tokens"],
                cost=before.cost + Decimal(row["cost_usd"]),
            )
        return found

    async def bills(self) -> dict[str, Account]:
        """What each attempt was billed, by its name."""
        return billed((await self._do("GET", "/bills"))["lines"])

    async def uses(self) -> dict[str, Use]:
        """The audit of request limits, by provider: the fullest of its windows, all its refusals."""
        found: dict[str, Use] = {}
        for domain in (await self._do("GET", "/audit"))["domains"]:
            name = domain["provider"]
            for limit in domain["limits"]:
                if limit["dimension"] == "requests":
                    before = found.get(name, Use(0, limit["limit"], 0))
                    most = max(before.most, limit["most"])
                    found[name] = Use(most, limit["limit"], before.refused + domain["refused"])
        return found

    async def rate_limited(self) -> int:
        """Answers 429, of all providers."""
        return int((await self._do("GET", "/meter"))["total"]["rate_limited"])

    async def _do(self, method: str, path: str, body: Any = None) -> Any:
        return (await ask(f"{self._url}/_control{path}", method=method, body=body, timeout=10.0)).json
