"""Providers that misbehave on command, for the demo, the tests and the benchmarks.

One process that speaks the dialects of OpenAI, Mistral, Anthropic and Gemini, each on a port of its own, with limits,
faults and a meter of its own. Nothing here knows anything of the rest of the system: it is what the rest is measured
against.

Rooms, from the wire inwards: ``connection`` (HTTP/1.1), ``listener`` (ports that can refuse), ``front`` and
``control_http`` (the main port), ``provider`` and ``call`` (the way of a request), ``dialects`` (wire formats),
``answers``, ``vectors``, ``instances``, ``patterns``, ``words`` (what is answered), ``playback`` and ``breakage`` (how
it is sent, and how it breaks), ``names`` and ``faults`` (what is to go wrong), ``limits`` and ``audit`` (what is
enforced, and how it was used), ``prefixes`` (prompt caches), ``batches`` (answers that come later), ``meter``,
``exports`` and ``journal`` (the books),
``control`` and ``reports`` (the handle on all of it), ``settings`` and ``configuration`` (what can be set), ``server``
(the whole).
"""

from simulator.control import Control, UnknownProvider
from simulator.faults import UnknownFault
from simulator.reports import FaultOrder
from simulator.server import Simulator
from simulator.settings import (
    AnswerLength,
    BatchPace,
    Limits,
    ModelSettings,
    Pace,
    Price,
    ProviderSettings,
    Settings,
    default_providers,
)

__all__ = [
    "AnswerLength",
    "BatchPace",
    "Control",
    "FaultOrder",
    "Limits",
    "ModelSettings",
    "Pace",
    "Price",
    "ProviderSettings",
    "Settings",
    "Simulator",
    "UnknownFault",
    "UnknownProvider",
    "default_providers",
]
