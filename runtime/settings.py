"""The operator's one configuration file as frozen models; ``runtime.config`` reads it and says what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from typing_extensions import TypedDict

from catalogue.rows import Dialect
from job_contracts.attempts import Adaptation, Fit, Timeouts
from job_contracts.constraints import Constraints, Globs, Hosting
from job_contracts.constraints import Price as PriceCap
from job_contracts.embeddings import MOST_INPUTS
from job_contracts.jobs import LANES, Lane
from job_contracts.keys import Scope
from job_contracts.money import Budget
from runtime.gate import USER

Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]


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


def _bounding(budget: Budget) -> Budget:
    if not budget.amounts():
        message = "an amount for at least one of hour, day, week, month and total"
        raise ValueError(message)
    return budget


Bounding = Annotated[Budget, AfterValidator(_bounding)]
"""A budget that bounds something: one without amounts is a mistake where a person wrote it."""


def _one_value(tag: str) -> str:
    name, equals, value = tag.partition("=")
    if not equals or not 0 < len(name) <= 64 or not 0 < len(value) <= 128:
        message = "a tag's name and value, such as team=search"
        raise ValueError(message)
    return tag


Tag = Annotated[str, AfterValidator(_one_value), Field(json_schema_extra={"pattern": "^[^=]{1,64}=.{1,128}$"})]


def _place(database: SecretStr) -> SecretStr:
    """Empty where a process is not to know it."""
    if not re.match(r"^(sqlite|postgresql)(\+\w+)?://|^$", database.get_secret_value()):
        message = "sqlite:///FILE or postgresql://user:password@host/name"
        raise ValueError(message)
    return database


class Section(BaseModel):
    """Base of all sections: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class Provider(Section):
    """One authenticated endpoint; a name known to the catalogue needs only its key."""

    key: SecretStr = SecretStr("")
    """The credential: a key; ``ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]`` for AWS; a service account's file, or its path,
    for Google's cloud. Only this provider's own workers read it."""
    dialect: Dialect | None = None
    """The wire format, in place of the catalogue's."""
    base_url: str | None = None
    """The address, in place of the catalogue's."""
    variables: dict[Token, Word] = {}
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
    domains: dict[Token, Domain] = {}
    """Limit domains of their own, by name; a model belongs to the first that matches."""
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


class Route(Section):
    """The model name producers ask for, and where it may be served."""

    strategy: Literal["ordered", "weighted", "cheapest", "fastest", "least_loaded", "blend"] = "ordered"
    """Which deployment comes first: as they stand; in turns by ``weights``; where this job costs least; where answers
    came fastest lately; where most of the limits is free; or by cost, speed and load together (``blend``)."""
    weights: dict[str, Annotated[float, Field(ge=0, le=1_000_000)]] = {}
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
    """What a client of the HTTP edge gets whose answer broke off after some of it was sent: ``continue`` goes on with
    the next attempt's answer where it says the same so far, and else ends in an error; ``hold`` sends nothing before
    the answer is whole; ``error`` ends in an error at once. Never are two answers joined."""
    budget: Bounding | None = None
    """US dollars that may be spent on it in each window, by all projects together."""
    successors: bool = False
    """Whether a model that its provider has retired is followed by the successor that the catalogue names."""
    fit: Fit = "refuse"
    """What becomes of a conversation that is too long for a model's context window: ``refuse`` it with the numbers, or
    ``trim`` its tool results and oldest turns until it fits."""

    @model_validator(mode="after")
    def _weights_are_of_its_own(self) -> Route:
        strange = sorted(set(self.weights) - set(self.deployments))
        if strange:
            message = f"weights: {', '.join(strange)}: not among the route's deployments"
            raise ValueError(message)
        return self


class Alerting(Section):
    """When the ledger tells somebody, beside log and metric."""

    webhook: str | None = None
    """Address that each alert is posted to as JSON."""
    secret: SecretStr = SecretStr("")
    """What the posts are signed with (HMAC-SHA256 over time and body, in the header ``Penstock-Signature``)."""
    at: tuple[Annotated[float, Field(gt=0)], ...] = (0.5, 0.8, 1.0)
    """Shares of a budget at which there is an alert."""
    anomaly: Annotated[float, Field(gt=1)] = 4.0
    """An hour's spend that is so many times the usual one of that hour is told."""
    drift: Annotated[float, Field(gt=0)] = 0.02
    """Share by which a provider's own figures may differ from ours before that is told."""
    every: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two looks."""


class LedgerSettings(Section):
    """The ledger (``python -m ledger``): where it is kept, and for how long."""

    database: Annotated[SecretStr, AfterValidator(_place)] = SecretStr("sqlite:///ledger.db")
    """``sqlite:///FILE`` (relative: beside the configuration) or ``postgresql://user:password@host/name``, the latter
    with ``?sslmode=verify-full`` and ``&sslrootcert=FILE``, ``sslcert``, ``sslkey``, ``sslcrl`` if encrypted."""
    auto_migrate: bool | None = None
    """Whether the ledger brings its tables up to date when it starts; by default for SQLite alone."""
    wait: Annotated[float, Field(ge=0)] = 60.0
    """Seconds to wait at the start for a database that does not answer yet."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 2_000
    """Facts in one transaction at most."""
    linger: Annotated[float, Field(ge=0, le=10)] = 0.25
    """Seconds to collect them."""
    connect_timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds a connection to the database may take."""
    command_timeout: Annotated[float, Field(gt=0, le=300)] = 30.0
    """Seconds after which a statement is given up (with SQLite: the wait for another writer); not migrations."""
    keep_days: Annotated[int, Field(gt=0)] = 400
    """Days single attempts are kept, never fewer than 31: so long LEDGER can tell of one again. Sums by the hour and by
    the day stay for ever."""
    alerts: Alerting = Alerting()
    """When it tells somebody."""


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
    tags: dict[Tag, Bounding] = {}
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


class Nats(Section):
    """Where the broker is and how its streams are laid out."""

    url: str = "nats://127.0.0.1:4222"
    """Address of the broker; of a cluster each node's, with commas between them."""
    user: str | None = None
    """Name by which the services connect."""
    password: SecretStr | None = None
    """Their password."""
    tls_ca: Path | None = None
    """File with the certificates to trust when the connection is encrypted; default: the system's."""
    tls_cert: Path | None = None
    """File with our own certificate, where the broker asks for one."""
    tls_key: Path | None = None
    """File with its private key."""
    replicas: Literal[1, 3, 5] = 1
    """Copies of each stream; more than 1 needs as many brokers."""
    max_queue_bytes: Annotated[int, Field(gt=0)] = 8 * 1024**3
    """Bytes of queued submissions; then further ones are refused."""
    max_work_messages: Annotated[int, Field(ge=100)] = 20_000
    """Assignments that may lie with the pools; dispatch stops at 80 % (the stream itself takes twice as many)."""
    result_ttl: Annotated[int, Field(ge=60)] = 86_400
    """Seconds a result stays readable and its idempotency key protects."""
    max_body: Annotated[int, Field(gt=0)] = 32 * 1024**2
    """Bytes one job's body may have."""
    manage: Literal["create", "validate"] = "create"
    """``create`` makes and adapts the streams at the start, ``validate`` only compares them."""


class Scheduling(Section):
    """The scheduler's own pace; the defaults suit almost everyone."""

    shard: int = 0
    """The part of the queue it leads; there is one."""
    lease: Annotated[float, Field(gt=1)] = 8.0
    """Seconds of silence after which another replica takes over."""
    renew: Annotated[float, Field(gt=0)] = 2.0
    """Seconds between two renewals when nothing is dispatched."""
    batch: Annotated[int, Field(ge=1, le=900)] = 200
    """Dispatches in one atomic write at most."""
    linger: Annotated[float, Field(ge=0)] = 0.01
    """Seconds between two batches at least, so that under load they are shared; the first goes at once."""
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
    """Shares of the lanes."""
    breaker: Breaker = Breaker()
    """When a deployment is left alone."""
    max_indexed: Annotated[int, Field(ge=10)] = 2_000_000
    """Jobs held in memory at most, some 700 bytes each; what is queued beyond waits unread in its stream."""
    default_deadline: Annotated[float, Field(gt=0)] = 86_400.0
    """Seconds a job without a deadline may take."""
    reconcile_every: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between two looks for what a lost message left behind."""


class Workers(Section):
    """How every worker process works; the defaults suit almost everyone."""

    drain: Annotated[float, Field(ge=0)] = 30.0
    """Seconds a worker that is to end lets its calls finish before it hands them back."""
    beat_every: Annotated[float, Field(gt=0)] = 2.0
    """Seconds between two heartbeats."""
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
    fetch_images: bool = False
    """Fetch images named by an ``https`` address for models that fetch none themselves: public addresses only. Without
    it such a job fails at that model."""


class StaticKey(Section):
    """A key that the configuration names: whose it is, and by what it is known again."""

    project: Token
    """The project it speaks for."""
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """HMAC-SHA256 of the whole key under the pepper, in hexadecimal."""
    scope: Scope = Scope()
    """What it may do."""


class Callout(Section):
    """By what an edge answers the broker who may connect: ``python -m appliance keys`` makes all of it."""

    seed: SecretStr
    """Seed of the account that signs the answers (``SA…``); the broker's file names its public half."""
    user: str = USER
    """Name by which an edge is known to the broker's system account."""
    password: SecretStr
    """Its password."""


class Filing(Section):
    """Uploaded files and the results of batches; times in seconds, sizes in bytes."""

    store: Annotated[int, Field(gt=0)] = 16 * 1024**3
    """Of all files together; then uploads are refused."""
    keep_days: Annotated[int, Field(gt=0, le=365)] = 30
    """Days after which a file expires that does not say so itself, and a batch is forgotten."""
    abandoned: Annotated[float, Field(gt=0)] = 600.0
    """Without another chunk of a file that was begun and never ended, until it is removed."""
    sweep: Annotated[float, Field(gt=0)] = 60.0
    """Between two looks for what was left behind."""


class Batching(Section):
    """Batches of requests; times in seconds, sizes in bytes."""

    store: Annotated[int, Field(gt=0)] = 8 * 1024**3
    """Of the output lines of all batches that have not ended; then further lines wait."""
    lane: Lane = "batch"
    """Lane of a batch that names none."""
    max_lines: Annotated[int, Field(gt=0)] = 100_000
    """Requests in one batch."""
    in_flight: Annotated[int, Field(gt=0)] = 1_000
    """Jobs of one batch at once."""
    in_flight_bytes: Annotated[int, Field(gt=0)] = 64 * 1024**2
    """Of the requests of one batch at once."""
    running: Annotated[int, Field(gt=0)] = 16
    """Batches that one edge works on at once; further ones wait their turn, or for another edge."""
    beat: Annotated[float, Field(gt=0)] = 2.0
    """Between two signs of life of the edge that works on a batch; its counts are as old at most."""
    silence: Annotated[float, Field(gt=0)] = 8.0
    """Without a sign of life, until another edge takes a batch over."""


class Edge(Section):
    """The HTTP edge (``python -m gateway``); times in seconds, sizes in bytes."""

    timeout: Annotated[float, Field(gt=0)] = 600.0
    """How long a request waits for its answer if it names no deadline; then its job expires."""
    on_disconnect: Literal["cancel", "continue"] = "cancel"
    """What becomes of a job whose client has gone."""
    linger: Annotated[float, Field(ge=0)] = 15.0
    """How long a job with an idempotency key is kept for its client to come back, before it is cancelled."""
    ping: Annotated[float, Field(gt=0)] = 15.0
    """Between two signs of life on a stream that has nothing to tell."""
    max_body: Annotated[int, Field(gt=0)] = 32 * 1024**2
    """Of a request's body, decompressed."""
    max_upload: Annotated[int, Field(gt=0)] = 512 * 1024**2
    """Of an uploaded file."""
    embedding_batch: Annotated[int, Field(ge=1, le=MOST_INPUTS)] = 96
    """Texts that become one job; 96 is what the provider with the smallest batches takes, or nearly."""
    max_header: Annotated[int, Field(ge=1024)] = 64 * 1024
    """Of a request's line and headers together."""
    max_headers: Annotated[int, Field(ge=16)] = 128
    """How many headers a request may have."""
    header_timeout: Annotated[float, Field(gt=0)] = 10.0
    """For a request's headers to arrive."""
    body_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Without a byte of a body that has not ended."""
    write_timeout: Annotated[float, Field(gt=0)] = 60.0
    """For a client that takes no bytes of its answer."""
    idle_timeout: Annotated[float, Field(gt=0)] = 75.0
    """For the next request on a connection."""
    max_connections: Annotated[int, Field(gt=0)] = 20_000
    """Open at once; further ones are turned away."""
    max_requests: Annotated[int, Field(gt=0)] = 10_000
    """Under way at once; further ones are told to come back."""
    drain: Annotated[float, Field(ge=0)] = 30.0
    """How long an edge that is to end goes on with what is under way; then its streams end, to be resumed elsewhere."""
    pepper: SecretStr = SecretStr("")
    """What keys are hashed with; the same for every edge."""
    admin_hash: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """HMAC-SHA256 of the admin key under the pepper; without it there is none."""
    callout: Callout | None = None
    """With it, edges decide who may connect to the broker, by the same keys."""
    access: Path | None = None
    """File with pepper, admin_hash, keys and callout, as far as they do not stand here: ``edge.json``, made by
    ``python -m appliance keys``. Only edges read it. A relative path begins at the configuration's folder."""
    keys: dict[Token, StaticKey] = {}
    """Keys that are known from the start, by their id."""
    max_keys: Annotated[int, Field(gt=0, le=100_000)] = 10_000
    """Keys made later than that, at most; what has ended is counted for as long as it is kept."""
    key_overlap: Annotated[float, Field(ge=0)] = 86_400.0
    """How long a key that is rotated goes on working, if nothing is said."""
    keys_kept: Annotated[float, Field(ge=60)] = 90 * 86_400.0
    """How long the record of a key that has ended is kept."""
    keys_stale: Annotated[float, Field(ge=1)] = 15.0
    """An edge that has not heard for so long what became of keys refuses them all until it has."""
    beat_every: Annotated[float, Field(gt=0)] = 2.0
    """Between two signs of life by which edges know each other; they share the rates of keys."""
    files: Filing = Filing()
    """Uploaded files."""
    batches: Batching = Batching()
    """Batches of requests."""


class Config(Section):
    """Everything an operator may say."""

    providers: Annotated[dict[Token, Provider], Field(min_length=1)]
    """By name; the name is also that of the pool."""
    routes: Annotated[dict[str, Route], Field(min_length=1)]
    """By the model name that producers ask for."""
    projects: dict[Token, Project] = {"default": Project()}
    """By name; a producer speaks for one of them."""
    catalogue: Path | None = None
    """Folder with TOML files of your own, one a provider, that add to the catalogue or change it. A relative path
    begins at the configuration's folder."""
    nats: Nats = Nats()
    """The broker."""
    scheduler: Scheduling = Scheduling()
    """The scheduler's own pace."""
    workers: Workers = Workers()
    """How every worker process works."""
    gateway: Edge = Edge()
    """The HTTP edge."""
    ledger: LedgerSettings = LedgerSettings()
    """The ledger."""

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
