"""What is served, for whom and where: providers, routes and projects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from catalogue.rows import Dialect
from job_contracts.attempts import Adaptation, Fit, OnInvalid, Timeouts
from job_contracts.constraints import Constraints, Globs, Hosting
from job_contracts.constraints import Price as PriceCap
from job_contracts.jobs import LANES, Lane
from runtime.settings.following import Shadow, Verify
from runtime.settings.written import Bounding, RouteTimeouts, Section, Tag, Token, Word


def lateness(window: float) -> float:
    """Seconds of lateness reckoned with where nothing is said: 1 % of the window, at least 0.25 and at most 1."""
    return min(1.0, max(0.25, window / 100))


class Limits(Section):
    """What a provider meters for one limit domain, per minute unless said otherwise; ``None`` means unlimited."""

    rpm: Annotated[float, Field(gt=0)] | None = None
    """Requests."""
    input_tpm: Annotated[float, Field(gt=0)] | None = None
    """Input tokens."""
    output_tpm: Annotated[float, Field(gt=0)] | None = None
    """Output tokens."""
    tpm: Annotated[float, Field(gt=0)] | None = None
    """Input and output tokens together, for providers that meter the sum."""
    concurrency: Annotated[int, Field(gt=0)] | None = None
    """Calls at once."""
    window: Annotated[float, Field(gt=0)] = 60.0
    """Seconds of the provider's window."""
    burst: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of a limit that may be used at once; the rest refills evenly over the window."""
    skew: Annotated[float, Field(ge=0)] = Field(default_factory=lambda told: lateness(told.get("window", 60.0)))
    """Seconds a call may arrive late at the provider; the refill is slowed so that no window of theirs overflows. By
    default 1 % of the window, at least 0.25 and at most 1."""

    @property
    def metered(self) -> bool:
        """Whether anything is counted by the window."""
        return any(limit is not None for limit in (self.rpm, self.input_tpm, self.output_tpm, self.tpm))


class Domain(Section):
    """A limit domain of its own inside a provider: the models (globs) that share these limits."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    """Globs over model names."""
    limits: Limits
    """What they share."""


class BatchApi(Section):
    """How a provider's batch API is used; times in seconds."""

    linger: Annotated[float, Field(ge=0)] = 30.0
    """For further jobs of the same model, before a batch is made of those that have come."""
    requests: Annotated[int, Field(gt=0, le=10_000)] = 2_000
    """Jobs in one batch at most."""
    bytes: Annotated[int, Field(gt=0, le=200 * 1024**2)] = 64 * 1024**2
    """Of the requests of one batch at most."""
    poll: Annotated[float, Field(gt=0)] = 10.0
    """Between the first looks at a batch; half as long again each time, up to ``poll_most``."""
    poll_most: Annotated[float, Field(gt=0)] = 60.0
    """Between two looks at most."""
    silence: Annotated[float, Field(gt=0)] = 10.0
    """Without a sign of life of the worker that made a batch, until another one takes it over."""
    patience: Annotated[float, Field(gt=0)] = 300.0
    """Without any worker that answers for a job at the batch API, until it is given up there; more than ``silence``."""

    @model_validator(mode="after")
    def _patient(self) -> BatchApi:
        if self.patience <= 2 * self.silence:
            message = "patience: more than twice as long as silence, so that a batch can be taken over"
            raise ValueError(message)
        return self


class Provider(Section):
    """One authenticated endpoint; a name known to the catalogue needs only its key."""

    key: SecretStr = SecretStr("")
    """The credential: a key; ``ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]`` for AWS; a service account's file, or its path,
    for Google's cloud. Only this provider's own workers read it."""
    dialect: Dialect | None = None
    """The wire format, in place of the catalogue's."""
    base_url: str | None = None
    """The address, in place of the catalogue's."""
    variables: dict[Token, Word] = Field(default={})
    """What stands in the places of the address that the catalogue leaves open: ``{project: my-project}``."""
    catalogue: str | None = None
    """Name of the catalogue row to start from; default: the provider's own name."""
    hosting: Hosting = "managed"
    """``self`` for machines of your own: constraints are judged by it."""
    region: str | None = None
    """Where the provider works, by which ``residency`` is judged; and what fills the place ``{region}`` of its address.
    Without it, the one that the catalogue knows, if that is only one."""
    zero_retention: bool = False
    """Whether it keeps nothing of a call, as you have agreed with it: constraints are judged by it."""
    quantisation: Annotated[str, Field(min_length=1)] | None = None
    """In which precision it serves its models (``bf16``, ``fp8``), if you know: constraints are judged by it."""
    limits: Limits = Limits()
    """What the provider meters for all models that have no domain of their own."""
    domains: dict[Token, Domain] = Field(default={})
    """Limit domains of their own, by name; a model belongs to the first that matches."""
    concurrency: Annotated[int, Field(gt=0)] | None = None
    """Calls at once over all workers; the same as ``limits.concurrency``."""
    slots: Annotated[int, Field(gt=0, le=10_000)] = 256
    """Calls at once in one worker process; with ``tier: batch``, jobs that it may have at the batch API."""
    tier: Literal["standard", "flex", "batch"] = "standard"
    """``flex`` or ``batch``: a cheaper place for jobs of the lanes ``batch`` and ``bg`` that can wait, if the catalogue
    knows that the provider has it. Beside it, another provider with the same key serves the rest."""
    turnaround: Annotated[float, Field(gt=0)] | None = None
    """Seconds an answer of such a tier may take, in place of the catalogue's; a job goes there only if it has so much
    time and ``spare`` besides."""
    spare: Annotated[float, Field(gt=0)] = 900.0
    """Seconds before its deadline at which a job is taken back from such a tier, to be served elsewhere in time."""
    batch: BatchApi = BatchApi()
    """How the batch API is used, with ``tier: batch``."""

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
    """Either ``append`` or ``replace``, with the text."""

    def adaptation(self) -> Adaptation:
        """The rule as it travels with an assignment."""
        return Adaptation(system_append=self.system.get("append"), system_replace=self.system.get("replace"))


class Breaker(Section):
    """When a deployment is left alone.

    ``failures`` in a row open the breaker for ``open_for`` seconds, doubled each time up to ``max_open``.
    """

    failures: Annotated[int, Field(gt=0)] = 5
    """Failures in a row that open it."""
    open_for: Annotated[float, Field(gt=0)] = 5.0
    """Seconds it stays open the first time."""
    max_open: Annotated[float, Field(gt=0)] = 120.0
    """Seconds it stays open at most."""


class Blend(Section):
    """What counts how much on a route of strategy ``blend``, each as a multiple of the best deployment's."""

    cost: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    """What the job is likely to cost there."""
    speed: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    """How long answers took lately."""
    load: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    """Share of the limits that is taken."""


class OnceMore(Section):
    """When a job goes back to the deployment where it has just failed once, before another one is tried."""

    when: Literal["never", "session", "always"] = "session"
    """``session``: where its session's prompt cache is, or where no other deployment is free; ``always``: also where
    another one is; ``never``. It takes a single server error or broken connection of a deployment that served well, or
    a retry-after that is short; it happens once for each deployment and job, and is paid from the project's retries."""
    within: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Longest retry-after, in seconds, that is waited for there."""


class Hedge(Section):
    """A second attempt beside one that is late; the first to answer wins, the other one is stopped and paid for.

    It goes to another provider, only if that has room at once, and only for jobs of the lanes ``rt`` and ``std``.
    """

    share: Annotated[float, Field(gt=0, le=0.5)]
    """Part of what the route spends that second attempts may take."""
    after: Literal["p95"] | Annotated[float, Field(gt=0)] = "p95"
    """When an attempt is late: seconds without a first token (without an answer, where it is not streamed), or ``p95``
    for longer than nineteen of twenty attempts at that deployment took lately."""


class Route(Section):
    """The model name producers ask for, and where it may be served."""

    strategy: Literal["ordered", "weighted", "cheapest", "fastest", "least_loaded", "blend"] = "ordered"
    """Which deployment comes first: as they stand; in turns by ``weights``; where this job costs least; where answers
    came fastest lately; where most of the limits is free; or by cost, speed and load together (``blend``)."""
    weights: dict[str, Annotated[float, Field(ge=0, le=1_000_000)]] = Field(default={})
    """Shares of the jobs by deployment, for ``weighted``; 1 where none is given, 0 for the last resort."""
    blend: Blend = Blend()
    """What counts how much, for ``blend``."""
    affinity: bool = True
    """Whether a session stays where its prompt cache is as long as that is worth more than what another deployment
    saves; with ``ordered`` it goes as its deployments stand."""
    deployments: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+/.+$")], ...], Field(min_length=1)]
    """``provider/model``, best first."""
    timeouts: RouteTimeouts = Timeouts()
    """How long a worker waits for what."""
    on_switch: tuple[Switching, ...] = ()
    """The first rule that matches a deployment other than the first one is applied."""
    max_attempts: Annotated[int, Field(gt=0, le=50)] = 5
    """Attempts that count (a rate limit does not)."""
    expected_output: Annotated[int, Field(gt=0)] = 256
    """Output tokens to reserve until the route has learnt its own average."""
    broken_stream: Literal["continue", "hold", "error"] = "continue"
    """What becomes of a streamed answer that broke off after some of it was sent. ``continue``: a plain text is gone on
    with by the next deployment if that can (it takes the beginning of an answer); else it starts over, and a client of
    the HTTP edge, which cannot forget what it read, gets the rest where that says the same so far, and an error where
    not. ``hold`` and ``error`` always start over: ``hold`` sends a client of the edge nothing before the answer is
    whole, ``error`` ends in an error at once. Never are two answers joined."""
    budget: Bounding | None = None
    """US dollars that may be spent on it in each window, by all projects together."""
    shadow: Shadow | None = None
    """Copies of its jobs that run in the background on another route."""
    verify: Verify | None = None
    """Second opinions on its answers by another route."""
    successors: bool = False
    """Whether a model that its provider has retired, or no longer knows, is followed by the successor that the
    catalogue names."""
    once_more: OnceMore = OnceMore()
    """When a job goes back to where it has just failed once."""
    hedge: Hedge | None = None
    """Whether a second attempt is made where the first is late; off unless it is given."""
    fit: Fit = "refuse"
    """What becomes of a conversation that is too long for a model's context window: ``refuse`` it with the numbers, or
    ``trim`` its tool results and oldest turns until it fits."""

    on_invalid: OnInvalid = "repair"
    """What becomes of an answer that is not the JSON its job asks for: ``repair`` it where nothing has to be made up
    for that, and else make another attempt; ``retry`` makes another attempt at once; ``report`` ends the job. It is
    never given out as it is."""
    tell_invalid: bool = False
    """Whether the next attempt tells the model what was wrong with that answer."""

    def others(self) -> tuple[tuple[str, str], ...]:
        """The other routes that it names, and where."""
        shadow = () if self.shadow is None else (("shadow.to", self.shadow.to),)
        if self.verify is None:
            return shadow
        judge = () if self.verify.judge is None else (("verify.judge", self.verify.judge),)
        return (*shadow, ("verify.by", self.verify.by), *judge)

    @property
    def verifier(self) -> str | None:
        """The route whose deployments verify its answers before they are given."""
        return self.verify.by if self.verify is not None and self.verify.mode == "before" else None

    @model_validator(mode="after")
    def _one_answer_at_a_time(self) -> Route:
        if self.hedge is not None and self.verifier is not None:
            message = "hedge: a route that verifies before it answers makes no second attempts: leave one out"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _weights_are_of_its_own(self) -> Route:
        strange = sorted(set(self.weights) - set(self.deployments))
        if strange:
            message = f"weights: {', '.join(strange)}: not among the route's deployments"
            raise ValueError(message)
        return self


class LaneShare(Section):
    """A lane's weight against the other lanes."""

    share: Annotated[float, Field(gt=0, le=1)]
    """Part of every limit that the lane gets at least, while it has work; the shares are taken in proportion."""


class Project(Section):
    """A tenant: what it may use and how much of the queue."""

    routes: tuple[str, ...] | None = None
    """Routes it may ask for; ``None`` means all."""
    lanes: tuple[Lane, ...] = LANES
    """Lanes it may use."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share inside a lane against the other projects."""
    max_queued: Annotated[int, Field(gt=0)] = 200_000
    """Unfinished jobs it may have; further ones are refused."""
    max_in_flight: Annotated[int, Field(gt=0)] | None = None
    """Attempts it may have under way; ``None`` means as many as the limits allow."""
    max_queued_bytes: Annotated[int, Field(gt=0)] | None = None
    """Bytes of the bodies of its unfinished jobs; ``None`` means as many as the queue has room for."""
    limits: Limits = Limits()
    """What it may use of all providers together, beside their own limits; what is beyond waits in the queue."""
    budget: Bounding | None = None
    """US dollars it may spend in each window."""
    tags: dict[Tag, Bounding] = Field(default={})
    """Budgets of its jobs with a tag, by ``name=value``."""
    retry_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Further attempts may be at most this share of its dispatches (with a floor of 10) before retries are refused."""
    residency: Globs | None = None
    """Regions (globs) in which its jobs may be worked on."""
    hosting: Hosting | None = None
    """``self``: on your own machines alone; ``managed``: at providers alone."""
    zero_retention: bool = False
    """Only at providers that keep nothing of a call."""
    providers: Globs | None = None
    """Providers (globs) that its jobs may go to; ``None`` means all."""
    deny_providers: Globs | None = None
    """Providers they may not go to, by their name here or in the catalogue."""
    models: Globs | None = None
    """Models (globs over ``model`` or ``provider/model``) that may answer its jobs; ``None`` means all."""
    deny_models: Globs | None = None
    """Models that may not, by whichever name a provider serves them."""
    max_input_price: PriceCap | None = None
    """US dollars per million input tokens at most."""
    max_output_price: PriceCap | None = None
    """US dollars per million output tokens at most."""
    quantisation: Globs | None = None
    """Precisions (globs) in which models may be served."""

    @property
    def constraints(self) -> Constraints:
        """What each of its jobs is held to, beside what the job asks for itself."""
        return Constraints.model_construct(**{name: getattr(self, name) for name in Constraints.model_fields})
