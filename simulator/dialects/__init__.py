"""The wire formats: each reads a request into the simulator's words and writes answers, streams and errors (pure).

``dialect`` is the seam; ``openai``, ``mistral``, ``anthropic`` and ``gemini`` implement it. None of them knows about
sockets, limits or faults.
"""

from simulator.dialects.anthropic import Anthropic
from simulator.dialects.dialect import Dialect, Route
from simulator.dialects.gemini import Gemini
from simulator.dialects.mistral import Mistral
from simulator.dialects.openai import OpenAI
from simulator.settings import DialectName, ProviderSettings

__all__ = ["Dialect", "Route", "make_dialect"]

_DIALECTS: dict[DialectName, type[Anthropic | Gemini | OpenAI]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "gemini": Gemini,
    "mistral": Mistral,
}


def make_dialect(settings: ProviderSettings) -> Dialect:
    """The dialect that a provider speaks."""
    return _DIALECTS[settings.dialect](settings)
