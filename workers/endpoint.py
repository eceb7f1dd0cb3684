"""A pool's provider as its attempts see it: the row, the dialect, the way out, the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalogue.rows import ProviderRow
from runtime.clock import Clock
from runtime.settings import Provider
from runtime.telemetry import Telemetry
from workers.dialects.port import Dialect, Target
from workers.fitting import Fitting
from workers.http import Upstream
from workers.images import Images
from workers.leaders_clock import LeadersClock
from workers.smoothing import Smoothing
from workers.streaming import Streams

__all__ = ["Endpoint", "NoSuchRow", "row_of"]

_MAX_TARGETS = 4096
_USUAL_AUTH: Mapping[str, dict[str, str]] = {
    "openai_chat": {"authorization": "Bearer {key}"},
    "anthropic": {"x-api-key": "{key}"},
    "gemini": {"x-goog-api-key": "{key}"},
}
"""How endpoints of a dialect take their key, for those the catalogue does not know."""


class NoSuchRow(ValueError):
    """The catalogue does not know the provider, and the configuration does not say enough to do without."""


def row_of(name: str, provider: Provider, catalogue: Mapping[str, ProviderRow]) -> ProviderRow:
    """The catalogue's row for a configured provider, with what the configuration overrides.

    Raises NoSuchRow if there is none and the configuration has no ``dialect`` and ``base_url`` of its own.
    """
    row = catalogue.get(provider.catalogue or name)
    if row is None:
        if provider.dialect is None or provider.base_url is None:
            known = ", ".join(sorted(catalogue)) or "none"
            message = f"providers.{name}: not in the catalogue ({known}); give it a dialect and a base_url"
            raise NoSuchRow(message)
        auth = _USUAL_AUTH[provider.dialect]
        return ProviderRow(name=name, dialect=provider.dialect, base_url=provider.base_url, auth=auth)
    changed = {"dialect": provider.dialect, "base_url": provider.base_url}
    return row.model_copy(update={"name": name, **{key: value for key, value in changed.items() if value is not None}})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What every attempt of a pool shares."""

    row: ProviderRow
    dialect: Dialect
    upstream: Upstream
    smoothing: Smoothing
    streams: Streams
    clock: Clock
    telemetry: Telemetry
    leader: LeadersClock = field(default_factory=LeadersClock)
    images: Images = field(default_factory=Images)
    fitting: Fitting = field(default_factory=Fitting)
    _targets: dict[tuple[str, bool], Target] = field(default_factory=dict)

    def target(self, model: str, *, stream: bool) -> Target:
        """Whom the dialect encodes for; the same object for the same model."""
        found = self._targets.get((model, stream))
        if found is None:
            if len(self._targets) >= _MAX_TARGETS:
                self._targets.clear()
            found = self._targets[model, stream] = Target(self.row, self.row.model(model), stream=stream)
        return found
