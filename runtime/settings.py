"""The operator's one configuration file as frozen models; ``runtime.config`` reads it and says what is wrong."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from typing_extensions import TypedDict

from job_contracts.attempts import Adaptation, Timeouts
from job_contracts.jobs import LANES, Lane

Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]


_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)$")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds(value: Any) -> Any:
    """A time as people write it (``500ms``, ``8s``, ``2m``, ``1h``, or plain seconds) as seconds greater than 0."""
    found = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if found is not None:
        value = float(found.group(1)) * _UNITS[found.group(2)]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**9:
        message = "a time greater than 0, such as 8s, 500ms, 2m or plain seconds"
        raise ValueError(message)
    return value


def _times(value: Any) -> Any:
    """Timeouts as people write them: ``ttft`` is short for ``first_token``, and values have units."""
    if not isinstance(value, dict):
        return value
    if "ttft" in value and "first_token" in value:
        message = "either ttft or first_token, not both: they are the same"
        raise ValueError(message)
    known = Timeouts.model_fields
    named = {"first_token" if name == "ttft" else name: given for name, given in value.items()}
    return {name: seconds(given) if name in known else given for name, given in named.items()}


WrittenTime = Annotated[str, Field(pattern=_DURATION.pattern)] | Annotated[float, Field(gt=0)]


class WrittenTimes(TypedDict, total=False):
    """Timeouts as people write them, for the JSON Schema: in seconds, or with a unit (``500ms``, ``8s``, ``2m``)."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    connect: WrittenTime
    ttft: WrittenTime
    first_token: WrittenTime
    stall: WrittenTime
    total: WrittenTime


RouteTimeouts = Annotated[Timeouts, BeforeValidator(_times, json_schema_input_type=WrittenTimes)]


class Section(BaseModel):
    """Base of all sections: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(Section):
    """What a provider meters for one limit domain, per minute unless said otherwise; ``None`` means unlimited."""

    rpm: Annotated[float, Field(gt=0)] | None = None
    input_tpm: Annotated[float, Field(gt=0)] | None = None
    output_tpm: Annotated[float, Field(gt=0)] | None = None
    tpm: Annotated[float, Field(gt=0)] | None = None
    """Input and output tokens together, for providers that meter the sum."""
    concurrency: Annotated[int, Field(gt=0)] | None = None
    window: Annotated[float, Field(gt=0)] = 60.0
    """Seconds of the provider's window."""
    burst: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Share of a limit that may be used at once; the rest refills evenly over the window."""
    skew: Annotated[float, Field(ge=0)] = 1.0
    """Seconds a call may arrive late at the provider; the refill is slowed so that no window of theirs overflows."""


class Domain(Section):
    """A limit domain of its own inside a provider: the models (globs) that share these limits."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    limits: Limits


class Provider(Section):
    """One authenticated endpoint; a name known to the catalogue needs only its key."""

    key: SecretStr = SecretStr("")
    dialect: Literal["openai_chat", "anthropic", "gemini"] | None = None
    base_url: str | None = None
    catalogue: str | None = None
    """Name of the catalogue row to start from; default: the provider's own name."""
    hosting: Literal["managed", "self"] = "managed"
    region: str | None = None
    limits: Limits = Limits()
    domains: dict[Token, Domain] = {}
    concurrency: Annotated[int, Field(gt=0)] | None = None
    """Calls at once over all workers; the same as ``limits.concurrency``."""
    slots: Annotated[int, Field(gt=0, le=10_000)] = 256
    """Calls at once in one worker process."""

    @model_validator(mode="after")
    def _complete(self) -> Provider:
        if (self.dialect is None) != (self.base_url is None) and self.dialect is not None:
            message = "a provider with a dialect of its own also needs its base_url"
            raise ValueError(message)
        return self


class Switching(Section):
    """One rule of a route: what to change in the conversation when it goes to a matching deployment."""

    to: str
    """Glob over ``provider/model``."""
    system: Annotated[dict[Literal["append", "replace"], str], Field(min_length=1, max_length=1)]

    def adaptation(self) -> Adaptation:
        """The rule as it travels with an assignment."""
        return Adaptation(system_append=self.system.get("append"), system_replace=self.system.get("replace"))


class Breaker(Section):
    """When a deployment is left alone.

    ``failures`` in a row open the breaker for ``open_for`` seconds, doubled each time up to ``max_open``.
    """

    failures: Annotated[int, Field(gt=0)] = 5
    open_for: Annotated[float, Field(gt=0)] = 5.0
    max_open: Annotated[float, Field(gt=0)] = 120.0


class Route(Section):
    """The model name producers ask for, and where it may be served."""

    strategy: Literal["ordered"] = "ordered"
    deployments: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+/.+$")], ...], Field(min_length=1)]
    """``provider/model``, best first."""
    timeouts: RouteTimeouts = Timeouts()
    on_switch: tuple[Switching, ...] = ()
    max_attempts: Annotated[int, Field(gt=0, le=50)] = 5
    """Attempts that count (a rate limit does not)."""
    expected_output: Annotated[int, Field(gt=0)] = 256
    """Output tokens to reserve until the route has learnt its own average."""


class LaneShare(Section):
    """A lane's weight against the other lanes."""

    share: Annotated[float, Field(gt=0, le=1)]


class Project(Section):
    """A tenant: what it may use and how much of the queue."""

    routes: tuple[str, ...] | None = None
    """Routes it may ask for; ``None`` means all."""
    lanes: tuple[Lane, ...] = LANES
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share inside a lane against the other projects."""
    max_queued: Annotated[int, Field(gt=0)] = 200_000
    max_in_flight: Annotated[int, Field(gt=0)] | None = None
    retry_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Further attempts may be at most this share of its dispatches (with a floor of 10) before retries are refused."""


class Nats(Section):
    """Where the broker is and how its streams are laid out."""

    url: str = "nats://127.0.0.1:4222"
    user: str | None = None
    password: SecretStr | None = None
    replicas: Literal[1, 3, 5] = 1
    max_queue_bytes: Annotated[int, Field(gt=0)] = 8 * 1024**3
    max_work_messages: Annotated[int, Field(ge=100)] = 20_000
    result_ttl: Annotated[int, Field(ge=60)] = 86_400
    """Seconds a result stays readable and its idempotency key protects."""
    max_body: Annotated[int, Field(gt=0)] = 32 * 1024**2
    """Bytes one job's body may have."""
    manage: Literal["create", "validate"] = "create"


class Scheduling(Section):
    """The scheduler's own pace; the defaults suit almost everyone."""

    shard: int = 0
    lease: Annotated[float, Field(gt=1)] = 8.0
    """Seconds of silence after which another replica takes over."""
    renew: Annotated[float, Field(gt=0)] = 2.0
    batch: Annotated[int, Field(ge=1, le=900)] = 200
    """Dispatches in one atomic write at most."""
    linger: Annotated[float, Field(ge=0)] = 0.002
    """Seconds to collect a batch."""
    grant_valid: Annotated[float, Field(gt=0)] = 5.0
    """Seconds after a grant in which its call must start."""
    beat_missed: Annotated[float, Field(gt=0)] = 10.0
    """Seconds without a worker's heartbeat until its attempts are lost."""
    max_worker_deaths: Annotated[int, Field(gt=0)] = 2
    """Workers a job may take down before it is set aside as poison."""
    lanes: dict[Lane, LaneShare] = {
        "rt": LaneShare(share=0.6),
        "std": LaneShare(share=0.25),
        "batch": LaneShare(share=0.1),
        "bg": LaneShare(share=0.05),
    }
    breaker: Breaker = Breaker()
    default_deadline: Annotated[float, Field(gt=0)] = 86_400.0
    """Seconds a job without a deadline may take."""
    reconcile_every: Annotated[float, Field(gt=0)] = 30.0


class Workers(Section):
    """How every worker process works; the defaults suit almost everyone."""

    drain: Annotated[float, Field(ge=0)] = 30.0
    """Seconds a worker that is to end lets its calls finish before it hands them back."""
    beat_every: Annotated[float, Field(gt=0)] = 2.0
    coalesce: Annotated[float, Field(gt=0, le=1)] = 0.03
    """Seconds tokens are collected after the first before they are published."""
    coalesce_bytes: Annotated[int, Field(gt=0)] = 1024
    """Characters of tokens that are not held back any longer."""
    max_response: Annotated[int, Field(ge=1024)] = 64 * 1024**2
    """Bytes a provider's answer may have."""
    keep_alive: Annotated[float, Field(ge=0)] = 15.0
    """Seconds an idle connection to the provider is kept."""
    facts: Annotated[int, Field(ge=1, le=1000)] = 64
    """Facts in one message to the ledger at most."""
    facts_linger: Annotated[float, Field(ge=0, le=1)] = 0.005
    """Seconds to collect them."""
    unsettled: Annotated[int, Field(ge=1)] = 4096
    """Finished attempts whose facts are not stored yet, at which a worker takes no more work."""
    persist: Annotated[float, Field(gt=0)] = 300.0
    """Seconds a worker goes on trying to store what became of an attempt while the broker does not answer."""
    smoothing: bool = True
    """Spread the starts of calls to limited providers instead of sending a burst of grants in one instant."""


class Config(Section):
    """Everything an operator may say."""

    providers: Annotated[dict[Token, Provider], Field(min_length=1)]
    routes: Annotated[dict[str, Route], Field(min_length=1)]
    projects: dict[Token, Project] = {"default": Project()}
    nats: Nats = Nats()
    scheduler: Scheduling = Scheduling()
    workers: Workers = Workers()

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for name, route in self.routes.items():
            for deployment in route.deployments:
                provider = deployment.partition("/")[0]
                if provider not in self.providers:
                    known = f"there is no provider {provider!r} (there are: {', '.join(sorted(self.providers))})"
                    message = f"routes.{name}.deployments: {deployment!r}: {known}"
                    raise ValueError(message)
        for name, project in self.projects.items():
            for asked in project.routes or ():
                if asked not in self.routes:
                    known = ", ".join(sorted(self.routes))
                    message = f"projects.{name}.routes: there is no route {asked!r} (there are: {known})"
                    raise ValueError(message)
        return self
