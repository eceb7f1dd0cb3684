"""Experiments as the configuration writes them: the contract's models, with times that have units."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from job_contracts import experiments
from runtime.settings.written import WrittenTime, seconds

Hold = Annotated[Annotated[float, Field(gt=0)], BeforeValidator(seconds, json_schema_input_type=WrittenTime)]


class Ramp(experiments.Ramp):
    """How the share of units that take part grows."""

    hold: Hold = 86_400.0
    """Time that each step is held at least."""


class Experiment(experiments.Experiment):
    """One experiment on one route."""

    ramp: Ramp = Ramp()
    """How many take part."""

    @field_validator("judge")
    @classmethod
    def _nobody_judges(cls, judge: experiments.Judge | None) -> experiments.Judge | None:
        """No judge is asked yet: an experiment that waits for its scores would never learn anything."""
        if judge is not None:
            message = "nothing: judges are not asked yet; send scores as feedback"
            raise ValueError(message)
        return judge
