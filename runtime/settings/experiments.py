"""Experiments as the configuration writes them: the contract's models, with times that have units."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from job_contracts import experiments
from runtime.settings.written import Bounding, WrittenTime, seconds

Hold = Annotated[Annotated[float, Field(gt=0)], BeforeValidator(seconds, json_schema_input_type=WrittenTime)]


class Ramp(experiments.Ramp):
    """How the share of units that take part grows."""

    hold: Hold = 86_400.0
    """Time that each step is held at least."""


class Judge(experiments.Judge):
    """Who scores answers."""

    budget: Bounding
    """US dollars that scores may cost in each window; nobody else pays for them."""


class Experiment(experiments.Experiment):
    """One experiment on one route."""

    ramp: Ramp = Ramp()
    """How many take part."""
    judge: Judge | None = None
    """Who scores answers; needed for the metric ``judge``."""
