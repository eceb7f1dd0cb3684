"""Recorded exchanges with providers, where they are present: what was asked, what came, what it means."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.rows import ProviderRow
from workers.dialects.port import Target

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1].parent / "shared" / "recordings"
REASON = "the recordings are not present (../shared/recordings/open)"
needs_recordings = pytest.mark.skipif(not (ROOT / "open" / "index.json").is_file(), reason=REASON)

DIALECT_OF: Mapping[str, str] = {
    "chat.completions": "openai_chat",
    "messages": "anthropic",
    "rawPredict": "anthropic",
    "streamRawPredict": "anthropic",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
}
"""Endpoints that speak one of our dialects."""

OURS: Mapping[str, str] = {"openai": "openai_chat", "anthropic": "anthropic", "gemini": "gemini"}
"""The providers of the packaged catalogue, and the dialect their recordings are held to."""


@dataclass(frozen=True)
class Exchange:
    """One recorded exchange and what the vendor's own SDK made of it."""

    id: str
    provider: str
    endpoint: str
    dialect: str
    model: str
    streaming: bool
    features: tuple[str, ...]
    format: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    request: Any
    path: str
    expected: Mapping[str, Any]

    @property
    def is_failure(self) -> bool:
        """Whether a failure is expected (``ok`` is the label of a success that looks odd)."""
        return "expected_error" in self.expected and self.expected["expected_error"]["category"] != "ok"

    @property
    def target(self) -> Target:
        """The catalogue's row where there is one, else a row with the provider's quirks, else a plain one."""
        row = rows().get(self.provider)
        if row is None or (row.model(self.model).dialect or row.dialect) != self.dialect:
            row = ProviderRow.model_validate(
                {"name": self.provider, "dialect": self.dialect, "base_url": "https://recorded.invalid"}
            )
        return Target(provider=row, model=row.model(self.model), stream=self.streaming)


@cache
def rows() -> Mapping[str, ProviderRow]:
    """The packaged rows, and rows for the other recorded providers that have quirks."""
    return providers(HERE / "providers")


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All recorded exchanges of endpoints that speak one of our dialects."""
    return tuple(_exchanges())


def _exchanges() -> Iterator[Exchange]:
    folder = ROOT / "open"
    for row in json.loads((folder / "index.json").read_text("utf-8")):
        expected = folder / "expected" / f"{row['id']}.json"
        if row["endpoint"] not in DIALECT_OF or not expected.is_file():
            continue
        recorded = json.loads((folder / row["file"]).read_text("utf-8"))
        request, response = recorded["request"], recorded["response"]
        yield Exchange(
            id=row["id"],
            provider=row["provider"],
            endpoint=row["endpoint"],
            dialect=DIALECT_OF[row["endpoint"]],
            model=row["model"] or "unnamed",
            streaming=bool(row["streaming"]),
            features=tuple(row.get("features") or ()),
            format=row["format"],
            status=response["status"],
            headers={name.lower(): _last(value) for name, value in response["headers"].items()},
            body=_body(response),
            request=_request(request.get("body")),
            path=request.get("path") or "",
            expected=json.loads(expected.read_text("utf-8")),
        )


def _last(value: Any) -> str:
    return str(value[-1]) if isinstance(value, list) else str(value)


def _body(response: Mapping[str, Any]) -> bytes:
    if "body_base64" in response:
        return base64.b64decode(response["body_base64"])
    return str(response["body"]).encode("utf-8", "surrogatepass")


def _request(body: Any) -> Any:
    if not isinstance(body, str):
        return body or None
    try:
        return json.loads(body)
    except ValueError:
        return None


@cache
def compare() -> Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]:
    """The comparison that lies beside the recordings."""
    spec = importlib.util.spec_from_file_location("recorded_check", ROOT / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]] = module.compare
    return found
