"""The part of the operator's configuration that the policy reads, by shape: this room knows no settings module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import Fit
    from job_contracts.jobs import Lane
    from job_contracts.money import Budget


class LimitsLike(Protocol):
    """Limits of one domain; ``None`` means that none is known."""

    @property
    def rpm(self) -> float | None: ...
    @property
    def input_tpm(self) -> float | None: ...
    @property
    def output_tpm(self) -> float | None: ...
    @property
    def tpm(self) -> float | None: ...
    @property
    def concurrency(self) -> int | None: ...
    @property
    def window(self) -> float: ...
    @property
    def burst(self) -> float: ...
    @property
    def skew(self) -> float: ...


class DomainLike(Protocol):
    """Models (globs) with limits of their own."""

    @property
    def models(self) -> tuple[str, ...]: ...
    @property
    def limits(self) -> LimitsLike: ...


class ProviderLike(Protocol):
    """One authenticated endpoint."""

    @property
    def catalogue(self) -> str | None: ...
    @property
    def limits(self) -> LimitsLike: ...
    @property
    def domains(self) -> Mapping[str, DomainLike]: ...
    @property
    def concurrency(self) -> int | None: ...


class RouteLike(Protocol):
    """A name that jobs ask for."""

    @property
    def strategy(self) -> str: ...
    @property
    def deployments(self) -> tuple[str, ...]: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def expected_output(self) -> int: ...
    @property
    def fit(self) -> Fit: ...
    @property
    def budget(self) -> Budget | None: ...


class ProjectLike(Protocol):
    """A tenant."""

    @property
    def routes(self) -> tuple[str, ...] | None: ...
    @property
    def lanes(self) -> tuple[Lane, ...]: ...
    @property
    def weight(self) -> float: ...
    @property
    def max_queued(self) -> int: ...
    @property
    def max_in_flight(self) -> int | None: ...
    @property
    def retry_share(self) -> float: ...
    @property
    def max_queued_bytes(self) -> int | None: ...
    @property
    def limits(self) -> LimitsLike: ...
    @property
    def budget(self) -> Budget | None: ...
    @property
    def tags(self) -> Mapping[str, Budget]: ...


class BreakerLike(Protocol):
    """When a deployment is left alone."""

    @property
    def failures(self) -> int: ...
    @property
    def open_for(self) -> float: ...
    @property
    def max_open(self) -> float: ...


class LaneShareLike(Protocol):
    """A lane's weight."""

    @property
    def share(self) -> float: ...


class SchedulingLike(Protocol):
    """The scheduler's own pace."""

    @property
    def max_worker_deaths(self) -> int: ...
    @property
    def lanes(self) -> Mapping[Lane, LaneShareLike]: ...
    @property
    def breaker(self) -> BreakerLike: ...
    @property
    def default_deadline(self) -> float: ...


class Configured(Protocol):
    """The whole of it."""

    @property
    def providers(self) -> Mapping[str, ProviderLike]: ...
    @property
    def routes(self) -> Mapping[str, RouteLike]: ...
    @property
    def projects(self) -> Mapping[str, ProjectLike]: ...
    @property
    def scheduler(self) -> SchedulingLike: ...
