"""Hard constraints of a job: where it may be served at all, judged by what is known of a deployment.

They fail closed: what is not known of a deployment is no reason to let a job go there. Several of them (a project's and
a job's own) hold together, each for itself: so the stricter one holds in everything, and none can loosen another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from job_contracts.codec import Wire

__all__ = ["Constraints", "Globs", "Hosting", "Price", "Traits", "joined", "unmet"]

Hosting = Literal["self", "managed"]
"""Whose machines a deployment runs on: the operator's own, or the provider's."""


def _plain(amount: Decimal) -> Decimal:
    """The same amount in one notation, so that equal requests are the same bytes."""
    return Decimal(format(amount.normalize(), "f"))


Globs = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(min_length=1, max_length=64)
]  # fmt: skip
"""Patterns such as ``eu-*``, at least one; capital letters make no difference."""
Price = Annotated[Decimal, Field(ge=0, le=1_000_000), AfterValidator(_plain)]
"""US dollars per million tokens."""


@dataclass(slots=True, frozen=True)
class Traits:
    """What is known of a deployment by which constraints are judged; ``None``: not known."""

    provider: str
    """As the configuration calls it."""
    model: str
    """As its provider calls it."""
    region: str | None = None
    hosting: Hosting | None = None
    zero_retention: bool | None = None
    quantisation: str | None = None
    input_price: Decimal | None = None
    """US dollars per million input tokens, the dearest rate of any length of prompt."""
    output_price: Decimal | None = None
    vendor: str | None = None
    """The catalogue's name of the provider, where the configuration gives it another one."""
    names: tuple[str, ...] = ()
    """Other names of the same model. What is denied by one of them is denied; none of them allows anything."""


class Constraints(Wire):
    """What a deployment must be to serve a job. An empty set of them asks for nothing.

    A name that is not known here is refused and not ignored: a constraint that nobody checks would be a promise broken.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    residency: Globs | None = None
    """Regions in which the job may be worked on, by the names that providers give them."""
    hosting: Hosting | None = None
    """``self``: on the operator's own machines alone; ``managed``: at providers alone."""
    zero_retention: Annotated[bool, Field(strict=True)] = False
    """Whether only providers are allowed that keep nothing of a call, as the operator says."""
    providers: Globs | None = None
    """Providers that are allowed; ``None``: all."""
    deny_providers: Globs | None = None
    """Providers that are not, whatever ``providers`` says."""
    models: Globs | None = None
    """Models that are allowed, as ``model`` or ``provider/model``."""
    deny_models: Globs | None = None
    """Models that are not, by whichever name a provider serves them."""
    max_input_price: Price | None = None
    """US dollars per million input tokens at most."""
    max_output_price: Price | None = None
    """US dollars per million output tokens at most."""
    quantisation: Globs | None = None
    """In which precision the model may be served, such as ``bf16`` or ``fp8``."""

    def met(self, traits: Traits) -> str | None:
        """Why a deployment does not meet them, ``None`` if it does."""
        return (
            self._place(traits)
            or self._names(traits)
            or _dear("input", traits.input_price, self.max_input_price)
            or _dear("output", traits.output_price, self.max_output_price)
            or _outside("quantisation", traits.quantisation, self.quantisation)
        )

    def _place(self, traits: Traits) -> str | None:
        if self.hosting is not None and traits.hosting != self.hosting:
            found = "not known" if traits.hosting is None else repr(traits.hosting)
            return f"its hosting is {found}, and only {self.hosting!r} is allowed"
        if self.zero_retention and not traits.zero_retention:
            return "it is not known to keep nothing (zero_retention)"
        return _outside("region", traits.region, self.residency)

    def _names(self, traits: Traits) -> str | None:
        whole = f"{traits.provider}/{traits.model}"
        for name in (traits.provider, traits.vendor or ""):
            if self.deny_providers is not None and _fits(name, self.deny_providers):
                return f"provider {name!r} is denied"
        for name in (traits.model, whole, *traits.names):
            if self.deny_models is not None and _fits(name, self.deny_models):
                return f"model {name!r} is denied"
        if self.providers is not None and not _fits(traits.provider, self.providers):
            return f"provider {traits.provider!r} is not among those allowed ({', '.join(self.providers)})"
        if self.models is not None and not (_fits(traits.model, self.models) or _fits(whole, self.models)):
            return f"model {traits.model!r} is not among those allowed ({', '.join(self.models)})"
        return None


_NOTHING = Constraints()


def joined(*each: Constraints | None) -> tuple[Constraints, ...]:
    """Those that ask for anything, each once. All of them have to be met."""
    return tuple(dict.fromkeys(one for one in each if one is not None and one != _NOTHING))


def unmet(every: Iterable[Constraints], traits: Traits) -> str | None:
    """Why a deployment does not meet all of them, ``None`` if it does."""
    return next((reason for one in every if (reason := one.met(traits)) is not None), None)


def _fits(name: str, globs: Iterable[str]) -> bool:
    lower = name.lower()
    return bool(lower) and any(fnmatchcase(lower, glob.lower()) for glob in globs)


def _outside(what: str, found: str | None, allowed: tuple[str, ...] | None) -> str | None:
    if allowed is None:
        return None
    if found is None:
        return f"its {what} is not known, and only {', '.join(allowed)} is allowed"
    return None if _fits(found, allowed) else f"its {what} is {found!r}, and only {', '.join(allowed)} is allowed"


def _dear(what: str, price: Decimal | None, most: Decimal | None) -> str | None:
    if most is None:
        return None
    if price is None:
        return f"its {what} price is not known, and at most {most:f} US dollars a million tokens are allowed"
    if price <= most:
        return None
    return f"its {what} price is {price:f} US dollars a million tokens, and at most {most:f} are allowed"
