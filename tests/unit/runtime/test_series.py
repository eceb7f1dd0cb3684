"""However many names come along, the series of a process stay within a fixed number."""

from __future__ import annotations

import random

import pytest

import gateway.instruments
import ledger.instruments
import scheduler.instruments
import workers.instruments
from runtime.telemetry import COMMON, Instrument, Metrics, Telemetry

NAMES = 10_000
BUDGETS = {"scheduler": 20_000, "workers": 32_000, "gateway": 12_000, "ledger": 2_000}
"""Series of a process under the worst that can come; what a real one has is its models and projects."""
INSTRUMENTS: dict[str, tuple[Instrument, ...]] = {
    "scheduler": scheduler.instruments.INSTRUMENTS,
    "workers": workers.instruments.INSTRUMENTS,
    "gateway": gateway.instruments.INSTRUMENTS,
    "ledger": ledger.instruments.INSTRUMENTS,
}
IDS = {"job", "job_id", "attempt", "key", "user", "worker", "session", "token", "request"}
"""What no label may be."""


@pytest.mark.parametrize("process", INSTRUMENTS)
def test_ten_thousand_random_names_in_every_label_stay_within_the_budget(process: str) -> None:
    telemetry, metrics = Telemetry(), Metrics(process)
    metrics.listen(telemetry, (*COMMON, *INSTRUMENTS[process]))
    dice = random.Random(7)
    fields: dict[str, set[str]] = {}
    for one in INSTRUMENTS[process]:
        fields.setdefault(one.on, set()).update(one.labels)
    values = {one.value: 1.0 for one in INSTRUMENTS[process] if one.value}
    names = [f"{dice.getrandbits(64):016x}" for _ in range(NAMES)]
    for on, labelled in fields.items():
        for name in names if labelled else ():
            telemetry.emit(on, **{**values, **dict.fromkeys(labelled, name)})
    series = sum(len(family.samples) for family in metrics.registry.collect())
    assert series <= BUDGETS[process]
    for one in INSTRUMENTS[process]:
        if one.labels and one.kind == "count":
            others = dict.fromkeys(one.labels, "other")
            assert metrics.registry.get_sample_value(f"penstock_{one.name}_total", others), one.name


def test_no_label_is_the_id_of_anything() -> None:
    labels = {(one.name, label) for every in INSTRUMENTS.values() for one in every for label in one.labels}
    assert [f"{name}: {label}" for name, label in labels if label in IDS] == []
