"""Facts about providers and models as data: what a dialect and a route need to know, nothing that runs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from catalogue.quirks import Quirks
from catalogue.tokens import TokenFacts

Capability = Literal[
    "tools", "images", "files", "json_schema", "reasoning", "logprobs", "system", "prefill", "embeddings"
]  # fmt: skip
"""What a model can do; one that has ``embeddings`` and nothing else makes vectors and no answers."""
Dialect = Literal["openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "cohere", "ollama"]
"""The wire formats, by their names in ``workers.dialects``."""

Quirk = str | int | float | bool | tuple[str, ...]


def _quirks_are_known(values: dict[str, Quirk]) -> dict[str, Quirk]:
    Quirks.model_validate(values)
    return values


QuirkTable = Annotated[dict[str, Quirk], AfterValidator(_quirks_are_known)]
"""Deviations by name; ``catalogue.quirks`` says which there are. A name or value it does not know is an error."""


class Row(BaseModel):
    """Base of all rows: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRow(Row):
    """Facts about one model (or, with a glob as ``name``, a family of models) at one provider."""

    name: str
    """As the provider calls it; may be a glob such as ``gpt-5*``: the most specific row wins."""
    aliases: tuple[str, ...] = ()
    """Further names, or globs, of which the same is true."""
    dialect: Dialect | None = None
    """Where the model speaks another one than its provider's row says."""
    family: str = ""
    """Endpoint family that accepts each other's reasoning signatures; empty: none."""
    context_window: int | None = None
    max_output: int | None = None
    capabilities: frozenset[Capability] = frozenset({"system"})
    quirks: QuirkTable = {}
    tokens: TokenFacts | None = None
    """How its prompts are counted, where ``catalogue.tokens`` does not know its family, or not well enough."""


class ProviderRow(Row):
    """Facts about one authenticated endpoint."""

    name: str
    dialect: Dialect
    base_url: str
    auth: dict[str, str] = {}
    """Header templates, ``{key}`` stands for the credential: ``{"authorization": "Bearer {key}"}``."""
    headers: dict[str, str] = {}
    """Sent with every request."""
    quirks: QuirkTable = {}
    cached_input_counts: bool = True
    """Whether cached prompt tokens count against the provider's input token limit."""
    tokens: TokenFacts | None = None
    """The same for all models of the provider."""
    models: tuple[ModelRow, ...] = ()
    docs: Annotated[str, Field(max_length=300)] = ""

    _found: dict[str, ModelRow] = PrivateAttr(default_factory=dict)

    def model(self, name: str) -> ModelRow:
        """The row of a model: its exact name or alias, else the matching glob with the most literal characters, else a
        row without facts.

        The same name gives the same object, so that what is derived from a row can be kept with it.
        """
        row = self._found.get(name)
        if row is None:
            if len(self._found) >= _ROOM:
                self._found.clear()
            row = self._found[name] = self._look_up(name)
        return row

    def _look_up(self, name: str) -> ModelRow:
        best: ModelRow | None = None
        most = -1
        for row in self.models:
            for pattern in (row.name, *row.aliases):
                if pattern == name:
                    return row.model_copy(update={"name": name})
                literal = len(_WILD.sub("", pattern))
                if literal > most and fnmatchcase(name, pattern):
                    best, most = row, literal
        return best.model_copy(update={"name": name}) if best else ModelRow(name=name)


_WILD = re.compile(r"\[[^]]*]|[*?]")
_ROOM = 4096
