"""One simulated provider: from a request to its answer, through keys, faults, limits, pace and the meter."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import Callable, Coroutine
from functools import partial

from simulator.answers import compose, fingerprint, input_tokens, longest, shorten
from simulator.batches import Batches
from simulator.breakage import INTACT, MISSES, Breakage, breakage
from simulator.call import WRONG_SHAPE, Call, Terms, injected, overflow, terms_of, timing_of, wrong_shape
from simulator.clock import Clock
from simulator.connection import Exchange
from simulator.conversation import Answer, Ask, Refusal, RefusalKind, Stamp
from simulator.dialects import Dialect, Route, make_dialect
from simulator.faults import Fault, Faults
from simulator.journal import Journal, Line
from simulator.limits import Demand, Domain, Exceeded, Lease
from simulator.meter import Meter, Outcome, Usage, key_id
from simulator.names import ModelName
from simulator.playback import Playback, Timing
from simulator.prefixes import NOTHING, Cached, PrefixCache
from simulator.settings import ProviderSettings
from simulator.wire import HTML, JSON, Request, head, whole

ATTEMPT = b"x-penstock-attempt"
"""Header by which a client names its call."""
HAS_BATCHES = frozenset({"openai", "anthropic"})
"""Dialects with a batch API."""
MOST_TERMS = 4_096
"""Models whose settings are kept ready; beyond that all are worked out anew."""

HTML_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><center><h1>502 Bad Gateway</h1>"
    b"</center><hr><center>nginx</center></body></html>\n"
)


class Provider:
    """Answers the requests of one listener. ``settings`` may be replaced at any time by ``configure``."""

    def __init__(
        self, settings: ProviderSettings, *, clock: Clock, meter: Meter, journal: Journal, longest_hold: float
    ) -> None:
        self.settings = settings
        self.faults = Faults()
        self.domains: dict[tuple[str, str], Domain] = {}
        self._clock = clock
        self._now: Callable[[], float] = clock.monotonic
        self._meter = meter
        self._journal = journal
        self._longest_hold = longest_hold
        self._dialect: Dialect = make_dialect(settings)
        self._keys = frozenset(settings.keys)
        self._prefixes = PrefixCache(settings.cache_minimum, settings.cache_seconds)
        self._terms: dict[str, Terms] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial_prefix = secrets.token_hex(6)
        self._serials = itertools.count(1)
        self._chances = random.Random(settings.name)
        self.batches = Batches(self.handle, lambda: self.settings.batches, clock.wall)

    # What others call

    def configure(self, settings: ProviderSettings) -> None:
        """Go on with other settings; windows start anew where limits have changed."""
        before, self.settings = self.settings, settings
        self._dialect = make_dialect(settings)
        self._keys = frozenset(settings.keys)
        self._terms.clear()
        if (before.limits, before.models) != (settings.limits, settings.models):
            self.domains.clear()
        if (before.cache_minimum, before.cache_seconds) != (settings.cache_minimum, settings.cache_seconds):
            self._prefixes = PrefixCache(settings.cache_minimum, settings.cache_seconds)

    def forget(self) -> None:
        """Forget prompts and audits; limits stand as they are."""
        self._prefixes.clear()
        for domain in self.domains.values():
            domain.forget()

    def knows(self, request: Request) -> bool:
        """Whether this provider has such a path."""
        return not isinstance(self._dialect.route(request), Refusal)

    def sees_key(self, request: Request) -> bool:
        """Whether the request carries a key where this provider looks for it."""
        return bool(self._dialect.key(request))

    @property
    def in_progress(self) -> int:
        """Answers being sent or held."""
        return len(self._tasks)

    async def stop(self) -> None:
        """End every answer in progress, as if its client had left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer a request."""
        came = self._clock.wall()  # before the other clock: a pause between the two makes no call end later than it did
        stamp = Stamp(f"{self._serial_prefix}{next(self._serials):012x}", int(came))
        call = Call(request, exchange, stamp, came, self._now())
        dialect = self._dialect
        route = dialect.route(request)
        if isinstance(route, Refusal):
            batches = self.batches.answer(request) if self.settings.dialect in HAS_BATCHES else None
            if batches is None:
                self._refuse(call, route)
            else:
                exchange.reply(batches)
            return
        call.route = route
        key = dialect.key(request)
        if not key or (self._keys and key not in self._keys):
            self._refuse(call, Refusal("auth" if key else "auth_missing"))
            return
        call.key = key_id(key)
        if route.operation in ("models", "model"):
            self._describe(call, route)
            return
        try:
            ask = dialect.read(request, route)
        except WRONG_SHAPE as error:
            ask = wrong_shape(error)
        if isinstance(ask, Refusal):
            self._refuse(call, ask)
            return
        call.ask, call.model = ask, ask.model.base
        if route.operation == "count":
            self._answer_plainly(call, dialect.count(input_tokens(ask)))
        else:
            self._complete(call, ask)

    # The way of a completion

    def _complete(self, call: Call, ask: Ask) -> None:
        terms = call.terms = self._terms_of(ask.model)
        now = call.arrived
        name = ask.model
        chance = self._chances.random()
        fault = self.faults.pick(name.full, name.fault, model=name.base, key=call.key, chance=chance, now=now)
        call.fault = fault
        window = name.context or terms.model.context_window or self.settings.context_window
        if fault is not None and fault.family in ("refusal", "before", "listener"):
            self._fail(call, fault, window)
            return
        tokens, at_once = input_tokens(ask), longest(ask)
        if at_once + (ask.max_tokens or 0) > window:
            self._refuse(call, overflow(at_once, ask.max_tokens or 0, window, call.model))
            return
        seed = fingerprint(ask)
        try:
            answer = compose(ask, seed, terms.model.answer or self.settings.answer)
        except WRONG_SHAPE as error:
            self._refuse(call, wrong_shape(error))
            return
        if fault is not None and fault.kind == "content_filter":
            produced = len(answer.thoughts) + answer.output_tokens
            shorten(answer, int(produced * fault.amount), "content_filter")
        elif fault is not None and fault.kind in MISSES and (ask.schema is not None or ask.json_object):
            answer.pieces = MISSES[fault.kind](answer.pieces)
        cached = self._cached(call, ask, tokens)
        uncached = tokens - cached.read - cached.written
        usage = Usage(uncached, cached.read, cached.written, answer.output_tokens, len(answer.thoughts))
        if self._admit(call, ask, terms, usage):
            self._prefixes.remember(cached, now)
            self._send(call, ask, answer, usage, timing_of(terms, seed))

    def _cached(self, call: Call, ask: Ask, tokens: int) -> Cached:
        if tokens < self.settings.cache_minimum or ask.texts is not None:
            return NOTHING
        owner = f"{call.key}/{call.model}"
        if ask.marks is None:
            return self._prefixes.blocks(owner, ask.prompt, tokens, call.arrived)
        return self._prefixes.marked(owner, ask.prompt, ask.marks, call.arrived)

    def _admit(self, call: Call, ask: Ask, terms: Terms, usage: Usage) -> bool:
        """Take from the limits; refuse the request if one of them is spent."""
        domain = call.domain = self._domain_of(call, terms)
        limits = domain.limits
        counts = self._dialect.cached_reads_count if limits.count_cached_reads is None else limits.count_cached_reads
        output = usage.all_output
        reserved = max(output, ask.max_tokens or 0) if limits.reserve_output == "max_tokens" else output
        demand = Demand(usage.all_input if counts else usage.all_input - usage.cached_read, output, reserved)
        lease = domain.admit(demand, call.arrived)
        if isinstance(lease, Lease):
            call.lease, call.usage = lease, usage
            return True
        self._refuse(call, self._limited(call, domain, lease), "rate_limited")
        return False

    def _limited(self, call: Call, domain: Domain, exceeded: Exceeded) -> Refusal:
        kind: RefusalKind = "too_large" if exceeded.too_large else "rate_limit"
        return Refusal(
            "concurrency" if exceeded.dimension == "concurrency" else kind,
            model=call.model,
            retry_after=0.0 if exceeded.too_large else exceeded.retry_after,
            exceeded=exceeded,
            gauges=domain.gauges(call.arrived),
        )

    def _send(self, call: Call, ask: Ask, answer: Answer, usage: Usage, timing: Timing) -> None:
        dialect, stamp, fault = self._dialect, call.stamp, call.fault
        headers = dialect.headers(stamp, call.domain.gauges(call.arrived) if call.domain is not None else ())
        plan = INTACT if fault is None else breakage(fault, ask, usage, dialect, stamp)
        if plan.ttft > timing.ttft:
            timing = Timing(timing.latency, plan.ttft, timing.per_token)
        at_once = plan is INTACT and timing.immediate
        playback = Playback(call.exchange, timing, self._now, self._longest_hold)
        if ask.stream:
            kind = plan.content_type or (dialect.stream_type if ask.sse else JSON)
            script = plan.script(dialect.script(ask, answer, usage, stamp))
            opening = head(200, kind, headers)
            if at_once:
                playback.stream_at_once(opening, script)
                self._settle(call, "ok", playback.produced)
            else:
                self._start(call, playback, plan, playback.stream(opening, script, plan.end))
            return
        body = plan.body(dialect.whole(ask, answer, usage, stamp))
        opening = head(200, plan.content_type or JSON, headers, None if plan.chunked else len(body))
        if at_once:
            call.exchange.reply(opening + body)
            self._settle(call, "ok", usage.all_output)
        else:
            self._start(call, playback, plan, playback.whole(opening, body, usage.all_output, plan.end))

    def _start(self, call: Call, playback: Playback, plan: Breakage, sending: Coroutine[None, None, None]) -> None:
        """Send in a task of its own, which ends with the client; the call is settled when it has ended."""

        def settle(task: asyncio.Task[None]) -> None:
            outcome: Outcome = "aborted" if task.cancelled() else "broken" if plan.spoils else "ok"
            self._settle(call, "broken" if playback.broken else outcome, playback.produced)

        playback.over = lambda: self._vacate(call, playback.produced)
        self._spawn(call, sending, settle)

    def _spawn(
        self,
        call: Call,
        sending: Coroutine[None, None, None],
        settle: Callable[[asyncio.Task[None]], None],
    ) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            settle(task)
            call.exchange.hang_up()  # nothing but an answer that did not end leaves the exchange open

        task.add_done_callback(ended)
        call.exchange.when_lost(partial(_cancel, task))

    # The ways that end without an answer

    def _fail(self, call: Call, fault: Fault, window: int) -> None:
        """A fault strikes before there is an answer."""
        exchange = call.exchange
        match fault.kind:
            case "hang":
                self._spawn(
                    call, asyncio.sleep(self._longest_hold), lambda _: self._settle(call, "failed", 0, status=0)
                )
            case "reset" | "refused":
                exchange.reset()
                self._settle(call, "failed", 0, status=0)
            case "empty_body" | "html":
                body, kind = (HTML_PAGE, HTML) if fault.kind == "html" else (b"", JSON)
                exchange.reply(whole(int(fault.amount), kind, body))
                self._settle(call, "failed", 0, status=int(fault.amount))
            case _:
                self._refuse(call, injected(fault, call.model, window))

    def _refuse(self, call: Call, refusal: Refusal, outcome: Outcome = "refused") -> None:
        reply = self._dialect.error(refusal, call.stamp, call.route)
        call.exchange.reply(whole(reply.status, reply.content_type, reply.body, reply.headers))
        self._settle(call, outcome, 0, status=reply.status)

    def _describe(self, call: Call, route: Route) -> None:
        """Which models there are."""
        names = self.settings.catalogue or tuple(self.settings.models)
        if route.operation == "models":
            self._answer_plainly(call, self._dialect.models(names))
        elif self.settings.catalogue and route.model not in names:
            self._refuse(call, Refusal("model_gone", model=route.model))
        else:
            self._answer_plainly(call, self._dialect.model(route.model))

    def _answer_plainly(self, call: Call, body: bytes) -> None:
        """An answer that costs nothing and counts against nothing; it is in the log alone."""
        call.exchange.reply(whole(200, JSON, body, self._dialect.headers(call.stamp, ())))
        self._log(call, "ok", 200, 0)

    # The books

    def _settle(self, call: Call, outcome: Outcome, produced: int, *, status: int = 200) -> None:
        """Close the books on a call: limits, meter, log."""
        usage = None if call.usage is None else call.usage.produced(produced)
        self._vacate(call, produced)
        row = (self.settings.name, call.key, call.model)
        tariff = None if call.terms is None else call.terms.tariff
        request_id = call.request.headers.get(ATTEMPT, b"").decode("latin-1") or call.stamp.serial
        cost = self._meter.record(row, outcome, usage, tariff, at=call.came, request_id=request_id)
        call.usage = usage
        self._log(call, outcome, status, cost)

    def _vacate(self, call: Call, produced: int) -> None:
        """The call takes no place any more, and from the limits what it really took; once."""
        if call.ended is None:
            call.ended = self._now()
        if call.lease is not None and call.domain is not None:
            call.domain.settle(call.lease, produced, call.ended)

    def _log(self, call: Call, outcome: Outcome, status: int, cost: int) -> None:
        ended = self._now() if call.ended is None else call.ended
        fault = "" if call.fault is None else call.fault.kind
        self._journal.write(
            Line(
                call.came,
                ended - call.arrived,
                self.settings.name,
                call.key,
                call.model,
                call.request.method,
                call.request.path,
                call.request.headers,
                call.ask is not None and call.ask.stream,
                status,
                outcome,
                fault,
                call.usage,
                cost,
            )
        )

    # What is kept for models

    def _terms_of(self, name: ModelName) -> Terms:
        terms = self._terms.get(name.full)
        if terms is None:
            if len(self._terms) >= MOST_TERMS:
                self._terms.clear()
            terms = self._terms[name.full] = terms_of(name, self.settings)
        return terms

    def _domain_of(self, call: Call, terms: Terms) -> Domain:
        settings = terms.model
        owner = (call.key, settings.group or call.model)
        domain = self.domains.get(owner)
        if domain is None:
            domain = self.domains[owner] = Domain(settings.limits or self.settings.limits)
        return domain


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
