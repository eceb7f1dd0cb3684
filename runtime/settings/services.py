"""How the processes work: broker, scheduler, workers, ledger and HTTP edge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from job_contracts.embeddings import MOST_INPUTS
from job_contracts.jobs import Lane
from job_contracts.keys import Scope
from runtime.gate import USER
from runtime.settings.routing import Breaker, LaneShare
from runtime.settings.written import Section, Token, _place


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
    lanes: dict[Lane, LaneShare] = Field(
        default={
            "rt": LaneShare(share=0.6),
            "std": LaneShare(share=0.25),
            "batch": LaneShare(share=0.1),
            "bg": LaneShare(share=0.05),
        }
    )
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
    """How long a job with an idempotency key is kept for its client to come back; then other edges are asked whether it
    waits there (as long, 2 to 5 seconds), and it is cancelled."""
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
    ``python -m appliance keys``. Only edges and consoles read it. A relative path begins at the
    configuration's folder."""
    keys: dict[Token, StaticKey] = Field(default={})
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
