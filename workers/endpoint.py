"""A pool's provider as its attempts see it: the row, the dialects, the way out, the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalogue.places import Unfilled, settled
from catalogue.pricing import PriceBook
from catalogue.rows import ProviderRow
from catalogue.tiers import at_tier, tier_of
from job_contracts.attempts import LimitReading
from runtime.clock import Clock
from runtime.service import place_of
from runtime.settings.routing import Provider
from runtime.telemetry import ERROR, Telemetry
from workers.answers.expected import Answers
from workers.dialects.port import Dialect, Target
from workers.fitting import Fitting
from workers.guarding import Guard
from workers.http import Reply, Upstream
from workers.images import Images
from workers.leaders_clock import LeadersClock
from workers.prepared import Prepared
from workers.sent import Sent
from workers.smoothing import Smoothing
from workers.streaming import Streams

__all__ = ["Endpoint", "NoSuchRow", "row_of"]

_MAX_TARGETS = 4096
_USUAL_AUTH: Mapping[str, dict[str, str]] = {
    "anthropic": {"x-api-key": "{key}"},
    "gemini": {"x-goog-api-key": "{key}"},
}
_BEARER = {"authorization": "Bearer {key}"}
"""How endpoints of a dialect take their key, for those the catalogue does not know; others as a bearer token."""


class NoSuchRow(ValueError):
    """The catalogue does not know the provider, and the configuration does not say enough to do without."""


def row_of(name: str, provider: Provider, catalogue: Mapping[str, ProviderRow]) -> ProviderRow:
    """The catalogue's row for a configured provider, with what the configuration overrides.

    Raises NoSuchRow if there is none and the configuration has no ``dialect`` and ``base_url`` of its own, or if its
    address has a place that the configuration does not fill; NoSuchTier if it has not the tier that is asked for.
    """
    row = catalogue.get(provider.catalogue or name)
    if row is None:
        if provider.dialect is None or provider.base_url is None:
            known = ", ".join(sorted(catalogue)) or "none"
            message = f"providers.{name}: not in the catalogue ({known}); give it a dialect and a base_url"
            raise NoSuchRow(message)
        auth = _USUAL_AUTH.get(provider.dialect, _BEARER)
        row = ProviderRow(name=name, dialect=provider.dialect, base_url=provider.base_url, auth=auth)
    row = at_tier(row, tier_of(name, provider, row))
    changed: dict[str, object] = {"name": name}
    if provider.dialect is not None:
        # What the operator says holds for every model, whatever the catalogue says of single ones.
        models = tuple(model.model_copy(update={"dialect": None}) for model in row.models)
        lent = tuple(one.model_copy(update={"dialect": None}) for one in row.lent)
        changed |= {"dialect": provider.dialect, "models": models, "lent": lent}
    if provider.base_url is not None:
        changed |= {"base_url": provider.base_url, "hosts": {}}
    try:
        return settled(row.changed(**changed), region=provider.region, variables=provider.variables)
    except Unfilled as error:
        raise NoSuchRow(str(error)) from error


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What every attempt of a pool shares."""

    row: ProviderRow
    dialects: Mapping[str, Dialect]
    """By name; a model may speak another one than its provider's row says."""
    upstream: Upstream
    smoothing: Smoothing
    streams: Streams
    clock: Clock
    telemetry: Telemetry
    guard: Guard | None = None
    sent: Sent | None = None
    """Reads what attempts before have sent; without it every answer starts over."""
    leader: LeadersClock = field(default_factory=LeadersClock)
    images: Images = field(default_factory=Images)
    fitting: Fitting = field(default_factory=Fitting)
    prepared: Prepared = field(default_factory=Prepared)
    answers: Answers = field(default_factory=Answers)
    prices: PriceBook = field(init=False)
    _targets: dict[tuple[str, bool], Target] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prices", PriceBook(self.row))

    def dialect(self, target: Target) -> Dialect:
        """What the target speaks."""
        return self.dialects[target.model.dialect or self.row.dialect]

    def limits(self, target: Target, reply: Reply) -> tuple[LimitReading, ...]:
        """What the answer's headers say of limits. A bug in reading them costs the reading, not the attempt or the
        beat that was to tell it.
        """
        try:
            return self.dialect(target).limits(target, reply.headers)
        except Exception as error:  # noqa: BLE001 - as above; headers are a stranger's words
            self.telemetry.emit("limits.unreadable", ERROR, error=type(error).__name__, place=place_of(error))
            return ()

    def target(self, model: str, *, stream: bool) -> Target:
        """Whom the dialect encodes for; the same object for the same model."""
        found = self._targets.get((model, stream))
        if found is None:
            if len(self._targets) >= _MAX_TARGETS:
                self._targets.clear()
            found = self._targets[model, stream] = Target(self.row, self.row.model(model), stream=stream)
        return found
