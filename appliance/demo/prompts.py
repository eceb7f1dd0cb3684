"""The bundled requests: ``appliance/prompts.jsonl``, one a line, each the arguments of a producer's call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUNDLED = Path(__file__).resolve().parents[1] / "prompts.jsonl"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request: ``arguments`` for ``Producer.submit``, ``stream`` among them where tokens are wanted."""

    number: int
    arguments: dict[str, Any]

    @property
    def route(self) -> str:
        """The model name it asks for."""
        return str(self.arguments["model"])

    @property
    def stream(self) -> bool:
        """Whether it wants its tokens while they come."""
        return bool(self.arguments.get("stream"))


def bundled(path: Path = BUNDLED) -> list[Prompt]:
    """Every request of the file, in its order."""
    with path.open(encoding="utf-8") as file:
        return [Prompt(number, json.loads(line)) for number, line in enumerate(file, 1)]
