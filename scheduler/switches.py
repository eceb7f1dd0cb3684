"""Tells of jobs that went on elsewhere after a failure: from where to where, why, and how long that took."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.telemetry import Telemetry
    from scheduler.policy.decisions import Dispatch


def tell_switches(telemetry: Telemetry, stored: Iterable[Dispatch], wall: float) -> None:
    """Of these attempts, at ``wall`` UTC seconds. One beside another attempt is no switch, nor one at the same place.

    When the failed attempt ended is told by its worker's clock.
    """
    for dispatch in stored:
        origin = dispatch.switched_from
        if origin is None or dispatch.hedge or origin == dispatch.deployment:
            continue
        seconds = None
        if dispatch.history and dispatch.history[-1].deployment == origin:
            seconds = max(0.0, wall - dispatch.history[-1].started - dispatch.history[-1].seconds)
        places = {"from": origin, "to": dispatch.deployment}
        telemetry.emit("job.switched", reason=dispatch.switch_reason or "", seconds=seconds, **places)
