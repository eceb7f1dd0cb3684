"""Facts about providers and models as data: what a dialect and a route need to know, nothing that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from catalogue.names import kin, kind_of
from catalogue.prices import Price
from catalogue.quirks import Quirks
from catalogue.tokens import TokenFacts

Capability = Literal[
    "tools", "images", "files", "json_schema", "reasoning", "logprobs", "system", "prefill", "embeddings"
]  # fmt: skip
"""What a model can do; one that has ``embeddings``, perhaps of ``images`` or ``files``, and nothing else makes vectors
and no answers."""
Dialect = Literal["openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "cohere", "ollama"]
"""The wire formats, by their names in ``workers.dialects``."""

Tier = Literal["flex", "batch"]
"""Cheaper places for what can wait: the usual interface when there is room, or the provider's batch API."""

Source = Literal["operator", "catalogue", "library"]
"""Who says a price: a file of the operator's own, the rows that come with the gateway, or the price library."""

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
    same_as: str = ""
    """The model whose facts are meant, where the name says nothing: a deployment, a fine-tuned or an imported model.
    What this row says itself comes on top."""
    dialect: Dialect | None = None
    """Where the model speaks another one than its provider's row says."""
    family: str = ""
    """Endpoint family that accepts each other's reasoning signatures; empty: none."""
    context_window: int | None = None
    """Tokens; where no row says it, the price library may."""
    max_output: int | None = None
    """Tokens of one answer at most."""
    capabilities: frozenset[Capability] = frozenset({"system"})
    quirks: QuirkTable = {}
    prices: tuple[Price, ...] = ()
    """The last in force holds. Where every entry has a date or hours, they are exceptions from what the library knows;
    otherwise they stand in its place."""
    deprecated: bool = False
    """The provider advises against it."""
    retires: date | None = None
    """Day (UTC) on which the provider stops answering for it, or has stopped."""
    successor: str = ""
    """What the provider names in its place."""
    regions: tuple[str, ...] | None = None
    """Where it can be called; ``None``: as its provider's row says."""
    retention: str | None = None
    """What the provider keeps of a call and for how long; ``None``: as its provider's row says."""
    tokens: TokenFacts | None = None
    """How its prompts are counted, where ``catalogue.tokens`` does not know its family, or not well enough."""

    @property
    def kind(self) -> str:
        """``chat``, ``embeddings``, ``completions`` or ``other``, as ``catalogue.names.kind_of`` has it."""
        if "embeddings" in self.capabilities:
            return "embeddings"
        return kind_of(self.same_as or self.name)


class Beyond(Protocol):
    """What a table of prices outside these rows knows of one provider's models."""

    def window(self, name: str) -> int | None: ...
    def prices(self, name: str) -> tuple[Price, ...]: ...
    def deprecated(self, name: str) -> bool: ...
    def names(self) -> Iterator[str]: ...


class Lent(Row):
    """Models that are facts of another provider's row: Azure's are OpenAI's, Vertex has Anthropic's."""

    provider: str
    models: str = "*"
    """Only those whose name (the row's, or its glob itself) matches this glob."""
    dialect: Dialect | None = None
    """What they speak here."""
    quirks: QuirkTable = {}
    """On top of their own."""
    apart: bool = False
    """The borrower takes no reasoning signatures of the lender's: their families are others here."""


class TierRow(Row):
    """A cheaper way to the same models, for whoever can wait."""

    price: Annotated[Decimal, Field(gt=0, le=1)]
    """Share of the usual prices that is charged."""
    turnaround: Annotated[float, Field(gt=0)]
    """Seconds in which an answer may be expected at the latest."""
    api: Literal["", "openai", "anthropic"] = ""
    """The batch API it goes by (``workers.dialects.batches``); empty: the usual one."""
    quirks: QuirkTable = {}
    """What differs in the requests, on top of the provider's own."""


class ProviderRow(Row):
    """Facts about one authenticated endpoint."""

    name: str
    title: str = ""
    """What people call it."""
    dialect: Dialect
    base_url: str
    """Its places (``{region}``, ``{project}``) are filled from the configuration: ``catalogue.places``."""
    auth: dict[str, str] = {}
    """Header templates, ``{key}`` stands for the credential: ``{"authorization": "Bearer {key}"}``."""
    sign: Literal["", "sigv4", "google"] = ""
    """What becomes of the key, where it is not simply sent: AWS's signature version 4, for which the key is
    ``ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]``; or Google's access tokens, for which it is a service account's file. A key
    in another form is sent by ``auth``, as it is."""
    sign_service: str = ""
    """AWS's name of the service, for ``sigv4``."""
    variables: dict[str, str] = {}
    """What fills places of the address (``{api_version}``) where the configuration says nothing else."""
    hosts: dict[str, str] = {}
    """Host of the base URL in regions that do not follow its pattern: ``{"global": "aiplatform.googleapis.com"}``."""
    headers: dict[str, str] = {}
    """Sent with every request."""
    quirks: QuirkTable = {}
    cached_input_counts: bool = True
    """Whether cached prompt tokens count against the provider's input token limit."""
    tokens: TokenFacts | None = None
    """The same for all models of the provider."""
    models: tuple[ModelRow, ...] = ()
    lent: tuple[Lent, ...] = ()
    """Whose models it serves besides."""
    changes: tuple[ModelRow, ...] = ()
    """What an operator's own files say of single models: on top of everything else, where they match."""
    library: tuple[str, ...] = ()
    """Its names in the price library, in the order to ask. ``{suffix}`` stands for the end of a model's name."""
    library_names: dict[str, str] = {}
    """Beginnings of model names in the library -> how they begin here."""
    library_skip: tuple[str, ...] = ()
    """Globs over names in the library that are not to be listed: what this endpoint does not serve."""
    regions: tuple[str, ...] = ()
    """Where it can be told to work: values of ``{region}``, or where there is none, what is known of the place."""
    retention: str = ""
    """What it keeps of a call and for how long, as published; empty: unknown."""
    docs: Annotated[str, Field(max_length=300)] = ""
    tiers: dict[Tier, TierRow] = {}
    """Cheaper ways to its models (``catalogue.tiers``)."""

    _operators: bool = PrivateAttr(default=False)
    _share: Decimal | None = PrivateAttr(default=None)
    _found: dict[str, ModelRow] = PrivateAttr(default_factory=dict)
    _prices: dict[str, tuple[Price, ...]] = PrivateAttr(default_factory=dict)
    _beyond: Beyond | None = PrivateAttr(default=None)

    def ask(self, beyond: Beyond | None) -> None:
        """Ask there from now on for what the row does not know itself: windows of models, prices, names. What was
        looked up before is forgotten.
        """
        self._found, self._prices, self._beyond = {}, {}, beyond

    def operators(self) -> ProviderRow:
        """The row as one that the operator wrote: the gateway comes without it."""
        self._operators = True
        return self

    def changed(self, **values: object) -> ProviderRow:
        """The row with other values, and with nothing remembered of these."""
        row = self.model_copy(update=values)
        row._found, row._prices = {}, {}  # noqa: SLF001 - our own copy
        return row

    def discounted(self, share: Decimal) -> ProviderRow:
        """The row where every price is only that share of what it says."""
        row = self.changed()
        row._share = share  # noqa: SLF001 - our own copy
        return row

    def model(self, name: str) -> ModelRow:
        """The row of a model: its exact name or alias, else the matching glob with the most literal characters, else
        the same for other spellings of the name (``catalogue.names``), else a row without facts.

        The same name gives the same object, so that what is derived from a row can be kept with it.
        """
        row = self._found.get(name)
        if row is None:
            if len(self._found) >= _ROOM:
                self._found.clear()
            row = self._found[name] = self._look_up(name)
        return row

    def prices(self, name: str) -> tuple[Price, ...]:
        """A model's prices, for ``catalogue.prices.cost_of``; none if they are not known."""
        found = self._prices.get(name)
        if found is None:
            if len(self._prices) >= _ROOM:
                self._prices.clear()
            row = self.model(name)
            found = row.prices
            if self._beyond is not None and all(price.conditional for price in found):
                found = (*self._beyond.prices(row.same_as or name), *found)
            if self._share is not None:
                found = tuple(price.shared(self._share) for price in found)
            self._prices[name] = found
        return found

    def source(self, name: str, price: Price) -> Source:
        """Who says one of ``prices(name)``. Raises ValueError for any other."""
        said = self.prices(name)[::-1]
        if said.index(price) >= len(self.model(name).prices):
            return "library"
        changed = any("prices" in row.model_fields_set and _fits(row, name) is not None for row in self.changes)
        return "operator" if changed or self._operators else "catalogue"

    def known(self) -> tuple[ModelRow, ...]:
        """Every model with a name of its own, by name: those of the rows, and of the price library."""
        names = {
            name.lower(): name
            for row in (*self.changes, *self.models)
            for name in (row.name, *row.aliases)
            if not _WILD.search(name)
        }
        for name in self._beyond.names() if self._beyond is not None else ():
            if not any(fnmatchcase(name, glob) for glob in self.library_skip):
                names.setdefault(name.lower(), name)
        return tuple(self._listed(self.model(name)) for _, name in sorted(names.items()))

    def _listed(self, row: ModelRow) -> ModelRow:
        told_off = self._beyond is not None and self._beyond.deprecated(row.same_as or row.name)
        return row.model_copy(update={"deprecated": True}) if told_off and not row.deprecated else row

    def _look_up(self, name: str) -> ModelRow:
        changes = sorted(
            ((literal, row) for row in self.changes if (literal := _fits(row, name)) is not None),
            key=lambda found: found[0],
        )
        row = self._own(next((change.same_as for _, change in reversed(changes) if change.same_as), "") or name)
        if row.same_as:
            row = _on_top(self._own(row.same_as), row)
        for _, change in changes:
            row = _on_top(row, change)
        update: dict[str, object] = {"name": name}
        if self._beyond is not None:
            asked = row.same_as or name
            if row.context_window is None:
                update["context_window"] = self._beyond.window(asked)
            if "capabilities" not in row.model_fields_set and kind_of(asked) == "embeddings":
                update["capabilities"] = frozenset({"embeddings"})
        return row.model_copy(update=update)

    def _own(self, name: str) -> ModelRow:
        for reading in kin(name):
            best: ModelRow | None = None
            most = -1
            for row in self.models:
                literal = _fits(row, reading)
                if literal is not None and literal > most:
                    best, most = row, literal
            if best is not None:
                return best
        return ModelRow(name=name)


def _fits(row: ModelRow, name: str) -> int | None:
    """How well a row's names match: the literal characters of the best glob, more for the name itself, or ``None``."""
    best: int | None = None
    for pattern in (row.name, *row.aliases):
        if pattern == name:
            return _EXACT
        literal = len(_WILD.sub("", pattern))
        if (best is None or literal > best) and fnmatchcase(name, pattern):
            best = literal
    return best


def _on_top(row: ModelRow, change: ModelRow) -> ModelRow:
    """A row with what another one says; quirks are merged by name."""
    said = {field: getattr(change, field) for field in change.model_fields_set - {"name", "aliases"}}
    return row.model_copy(update={**said, "quirks": {**row.quirks, **change.quirks}})


_WILD = re.compile(r"\[[^]]*]|[*?]")
_ROOM = 4096
_EXACT = 1_000_000
