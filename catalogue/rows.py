"""Facts about providers and models as data: what a dialect and a route need to know, nothing that runs."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Capability = Literal["tools", "images", "json_schema", "reasoning", "logprobs", "system", "prefill"]


class Row(BaseModel):
    """Base of all rows: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRow(Row):
    """Facts about one model (or, with a glob as ``name``, a family of models) at one provider."""

    name: str
    """As the provider calls it; may be a glob such as ``gpt-5*``, the most specific row wins."""
    aliases: tuple[str, ...] = ()
    family: str = ""
    """Endpoint family that accepts each other's reasoning signatures; empty: none."""
    context_window: int | None = None
    max_output: int | None = None
    capabilities: frozenset[Capability] = frozenset({"system"})
    quirks: dict[str, str | int | float | bool | tuple[str, ...]] = {}
    """Deviations from the dialect's standard form, read by the dialect: names are documented in the dialect's module."""


class ProviderRow(Row):
    """Facts about one authenticated endpoint."""

    name: str
    dialect: Literal["openai_chat", "anthropic", "gemini"]
    base_url: str
    auth: dict[str, str] = {}
    """Header templates, ``{key}`` stands for the credential: ``{"authorization": "Bearer {key}"}``."""
    headers: dict[str, str] = {}
    """Sent with every request."""
    quirks: dict[str, str | int | float | bool | tuple[str, ...]] = {}
    cached_input_counts: bool = True
    """Whether cached prompt tokens count against the provider's input token limit."""
    models: tuple[ModelRow, ...] = ()
    docs: Annotated[str, Field(max_length=300)] = ""

    def model(self, name: str) -> ModelRow:
        """The row of a model: exact name or alias first, then the longest matching glob, else a row without facts."""
        best: ModelRow | None = None
        for row in self.models:
            if row.name == name or name in row.aliases:
                return row.model_copy(update={"name": name})
            if fnmatchcase(name, row.name) and (best is None or len(row.name) > len(best.name)):
                best = row
        return best.model_copy(update={"name": name}) if best else ModelRow(name=name)
