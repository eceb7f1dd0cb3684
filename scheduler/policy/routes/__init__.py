"""Which deployment of a route comes first: one strategy a file, a pure function over the candidates.

``strategy`` what one is and may look at · ``candidates`` which deployments are none · ``ordered`` ``weighted``
``cheapest`` ``fastest`` ``least_loaded`` ``blend``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.routes.blend import blend
from scheduler.policy.routes.cheapest import cheapest
from scheduler.policy.routes.fastest import fastest
from scheduler.policy.routes.least_loaded import least_loaded
from scheduler.policy.routes.ordered import ordered
from scheduler.policy.routes.strategy import Strategy
from scheduler.policy.routes.weighted import weighted

if TYPE_CHECKING:
    from collections.abc import Mapping

STRATEGIES: Mapping[str, Strategy] = {
    "ordered": Strategy(ordered, fixed=True),
    "weighted": Strategy(weighted, live=True),
    "cheapest": Strategy(cheapest, priced=True),
    "fastest": Strategy(fastest, live=True, timed=True),
    "least_loaded": Strategy(least_loaded, live=True),
    "blend": Strategy(blend, priced=True, live=True, timed=True),
}
"""By the name an operator writes. A new one is a file here and a line in this table."""
