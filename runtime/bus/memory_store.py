"""The streams of the memory bus: the broker's rules for storing, limiting, delivering and removing, without any I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from runtime.bus.port import (
    AlreadyStored,
    BusError,
    ConsumerState,
    Message,
    NotFound,
    Outgoing,
    Refused,
    StreamFull,
    StreamState,
    TooLarge,
    WrongSequence,
)

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
H_ROLLUP = "Nats-Rollup"
H_TTL = "Nats-TTL"
NANO = 1_000_000_000
OVERHEAD = 34
"""Bytes the broker's file format adds to a message, roughly; it counts against ``max_bytes``."""
_WILDCARD = re.compile(r"\{\{wildcard\((\d+)\)\}\}")


@lru_cache(maxsize=4_096)
def _pattern(pattern: str) -> re.Pattern[str]:
    special = {">": r"(.+)", "*": r"([^.]+)"}
    return re.compile(r"\.".join(special.get(token) or re.escape(token) for token in pattern.split(".")))


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a pattern with ``*`` and ``>``."""
    return pattern == subject or _pattern(pattern).fullmatch(subject) is not None


def transformed(rule: Mapping[str, Any], subject: str) -> str | None:
    """What a rule (``src``, ``dest`` with ``{{wildcard(n)}}``) makes of a subject, None if it does not apply."""
    found = _pattern(rule["src"]).fullmatch(subject)
    if found is None:
        return None
    tokens = found.groups()
    return _WILDCARD.sub(lambda wildcard: tokens[int(wildcard[1]) - 1], rule["dest"])


@dataclass(slots=True)
class Stored:
    """A message in a stream; ``expires`` is a clock reading in seconds, None for never."""

    subject: str
    data: bytes
    headers: Mapping[str, str] | None
    seq: int
    stored_at: float
    expires: float | None
    size: int

    def message(self, *, headers_only: bool = False) -> Message:
        """As it is handed out."""
        if not headers_only:
            return Message(self.subject, self.data, self.headers, self.seq)
        return Message(self.subject, b"", {**(self.headers or {}), "Nats-Msg-Size": str(len(self.data))}, self.seq)


@dataclass(slots=True)
class Consumer:
    """A durable pull consumer that delivers each message once; ``pending`` maps a sequence to its deadline."""

    config: dict[str, Any]
    delivered: int = 0
    pending: dict[int, float] = field(default_factory=dict)

    def wants(self, subject: str) -> bool:
        """Whether a subject passes its filters."""
        filters = self.config.get("filter_subjects") or [self.config.get("filter_subject") or ">"]
        return any(matches(one, subject) for one in filters)

    def forget_dead(self, now: float) -> None:
        """What was not acknowledged in time leaves the count and is never delivered again."""
        for seq in [seq for seq, deadline in self.pending.items() if deadline <= now]:
            del self.pending[seq]


class MemoryStream:
    """One stream. Time is ``now()`` in seconds; every write is checked before anything of it is stored.

    ``wall``: UTC seconds, for what is told of it.
    """

    def __init__(
        self, config: dict[str, Any], now: Callable[[], float], wall: Callable[[], float] | None = None
    ) -> None:
        self.config = config
        self.consumers: dict[str, Consumer] = {}
        self.messages: dict[int, Stored] = {}
        self.last_seq = 0
        self._now, self._wall = now, wall or now
        self._made_at = self._wall()
        self._last_at: float | None = None
        self._by_subject: dict[str, dict[int, None]] = {}
        self._bytes = 0
        self._earliest: float | None = None

    @property
    def name(self) -> str:
        """The stream's."""
        return str(self.config["name"])

    # -- writing

    def takes(self, subject: str) -> bool:
        """Whether it stores what is published there."""
        return any(matches(pattern, subject) for pattern in self.config["subjects"])

    def store(self, batch: Sequence[Outgoing]) -> list[tuple[Stored, int]]:
        """Store all of ``batch`` or nothing; each with the sequence that was its subject's last one before.

        Raises the port's refusals.
        """
        self._expire()
        made = [self._made(message, place) for place, message in enumerate(batch, 1)]
        for message, stored in zip(batch, made, strict=True):
            self._check(message, stored)
        self._check_room(made)
        return [(stored, self._insert(stored)) for stored in made]

    def _made(self, message: Outgoing, place: int) -> Stored:
        rule = self.config.get("subject_transform")
        subject = (transformed(rule, message.subject) if rule else None) or message.subject
        headers, now = message.headers or {}, self._now()
        ttl = headers.get(H_TTL)
        if ttl is not None and not self.config.get("allow_msg_ttl"):
            raise Refused(f"{message.subject}: per-message TTL is disabled (code 10166)", code=10166)
        if headers.get(H_ROLLUP) and not self.config.get("allow_rollup_hdrs"):
            raise Refused(f"{message.subject}: rollup not permitted (code 10111)", code=10111)
        size = len(subject) + len(message.data) + sum(len(key) + len(value) + 4 for key, value in headers.items())
        limit = self.config.get("max_msg_size", -1)
        if 0 < limit < size - len(subject):
            raise TooLarge(f"{message.subject}: message size exceeds maximum allowed (code 10054)", code=10054)
        age = self.config.get("max_age", 0) / NANO
        lives = [now + float(ttl)] if ttl is not None else []
        lives += [now + age] if age else []
        return Stored(
            subject,
            message.data,
            message.headers,
            self.last_seq + place,
            now,
            min(lives, default=None),
            size + OVERHEAD,
        )

    def _check(self, message: Outgoing, stored: Stored) -> None:
        headers = message.headers or {}
        expected = headers.get(H_EXPECTED)
        if expected is not None:
            last = self.last_of(headers.get(H_EXPECTED_SUBJECT, stored.subject))
            if last != int(expected):
                raise WrongSequence(f"{message.subject}: wrong last sequence: {last} (code 10071)", last_seq=last)
        held = self._by_subject.get(stored.subject, {})
        limit = self.config.get("max_msgs_per_subject", -1)
        rollup = headers.get(H_ROLLUP)
        if 0 < limit <= len(held) and self.config.get("discard_new_per_subject") and not rollup:
            raise AlreadyStored(f"{message.subject}: maximum messages per subject exceeded (code 10077)", code=10077)

    def _check_room(self, made: Sequence[Stored]) -> None:
        if self.config.get("discard", "old") != "new":
            return
        most, bytes_ = self.config.get("max_msgs", -1), self.config.get("max_bytes", -1)
        if 0 < most < len(self.messages) + len(made):
            raise StreamFull(f"{made[0].subject}: maximum messages exceeded (code 10077)", code=10077)
        if 0 < bytes_ < self._bytes + sum(stored.size for stored in made):
            raise StreamFull(f"{made[0].subject}: maximum bytes exceeded (code 10077)", code=10077)

    def _insert(self, stored: Stored) -> int:
        previous = self.last_of(stored.subject)
        rollup = (stored.headers or {}).get(H_ROLLUP)
        if rollup:
            gone = list(self.messages) if rollup == "all" else list(self._by_subject.get(stored.subject, ()))
            for seq in gone:
                self.remove(seq)
        self.messages[stored.seq] = stored
        self._by_subject.setdefault(stored.subject, {})[stored.seq] = None
        self._bytes += stored.size
        self.last_seq, self._last_at = stored.seq, stored.stored_at
        if stored.expires is not None:
            self._earliest = min(stored.expires, self._earliest or stored.expires)
        self._enforce(stored.subject)
        return previous

    def _enforce(self, subject: str) -> None:
        """Drop the oldest where the stream's limits say so."""
        per_subject = self.config.get("max_msgs_per_subject", -1)
        held = self._by_subject.get(subject, {})
        while 0 < per_subject < len(held):
            self.remove(next(iter(held)))
        most, bytes_ = self.config.get("max_msgs", -1), self.config.get("max_bytes", -1)
        while self.messages and (0 < most < len(self.messages) or 0 < bytes_ < self._bytes):
            self.remove(next(iter(self.messages)))

    def remove(self, seq: int) -> bool:
        """Remove one message; False if it was not there."""
        stored = self.messages.pop(seq, None)
        if stored is None:
            return False
        self._bytes -= stored.size
        held = self._by_subject[stored.subject]
        del held[seq]
        if not held:
            del self._by_subject[stored.subject]
        return True

    def purge(self, below: int, subjects: str) -> int:
        """Remove what lies below a sequence; returns how many that were."""
        self._expire()
        gone = [
            seq for seq, stored in self.messages.items() if seq < below and matches(subjects or ">", stored.subject)
        ]
        return sum(self.remove(seq) for seq in gone)

    def _expire(self) -> None:
        now = self._now()
        if self._earliest is None or now < self._earliest:
            return
        alive: list[float] = []
        for seq, stored in list(self.messages.items()):
            if stored.expires is not None:
                if stored.expires <= now:
                    self.remove(seq)
                else:
                    alive.append(stored.expires)
        self._earliest = min(alive, default=None)

    # -- reading

    def last_of(self, subject: str) -> int:
        """Sequence of the last message of a subject (wildcards allowed), 0 if there is none."""
        held = self._by_subject.get(subject)
        if held:
            return next(reversed(held))
        if "*" not in subject and ">" not in subject:
            return 0
        return max((next(reversed(seqs)) for one, seqs in self._by_subject.items() if matches(subject, one)), default=0)

    def last(self, subject: str) -> Message:
        """Last message of a subject. Raises NotFound."""
        self._expire()
        return self.get(self.last_of(subject))

    def get(self, seq: int) -> Message:
        """Message by sequence. Raises NotFound."""
        self._expire()
        stored = self.messages.get(seq)
        if stored is None:
            raise NotFound(f"{self.name}: no message found (code 10037)", code=10037)
        return stored.message()

    def after(self, seq: int, filters: Sequence[str]) -> Iterator[Stored]:
        """Messages at or after a sequence whose subject passes one of the filters."""
        self._expire()
        first = next(iter(self.messages), self.last_seq + 1)
        for one in range(max(seq, first), self.last_seq + 1):
            stored = self.messages.get(one)
            if stored is not None and any(matches(pattern, stored.subject) for pattern in filters):
                yield stored

    def state(self, subjects: str) -> StreamState:
        """What a leader would say of it."""
        self._expire()
        counts = {one: len(seqs) for one, seqs in self._by_subject.items() if matches(subjects or ">", one)}
        first = next(iter(self.messages), self.last_seq + 1 if self.last_seq else 0)
        return StreamState(
            name=self.name,
            messages=len(self.messages),
            bytes=self._bytes,
            first_seq=first,
            last_seq=self.last_seq,
            max_messages=self.config.get("max_msgs", -1),
            max_bytes=self.config.get("max_bytes", -1),
            subjects=counts if subjects else None,
            first_at=self._moment(self.messages[first].stored_at) if first in self.messages else None,
            last_at=None if self._last_at is None else self._moment(self._last_at),
            made_at=self._made_at,
        )

    def _moment(self, reading: float) -> float:
        return reading + self._wall() - self._now()

    # -- consumers

    def consumer(self, name: str) -> Consumer:
        """A durable by name. Raises NotFound."""
        found = self.consumers.get(name)
        if found is None:
            raise NotFound(f"{self.name}.{name}: consumer not found (code 10014)", code=10014)
        return found

    def declare_consumer(self, config: dict[str, Any]) -> Consumer:
        """Create or update a durable. Raises BusError for what the memory bus does not offer."""
        if config.get("max_deliver") != 1 or config.get("ack_policy") != "explicit":
            raise BusError(f"{config['name']}: the memory bus knows only max_deliver 1 with explicit acknowledgement")
        consumer = self.consumers.setdefault(config["name"], Consumer(config))
        consumer.config = config
        return consumer

    def deliver(self, name: str, limit: int) -> list[Message]:
        """Hand out up to ``limit`` messages. Raises NotFound without that consumer."""
        consumer, now = self.consumer(name), self._now()
        consumer.forget_dead(now)
        wait = consumer.config.get("ack_wait", 30 * NANO) / NANO
        room = consumer.config.get("max_ack_pending", 1_000) - len(consumer.pending)
        found: list[Message] = []
        for stored in self.after(consumer.delivered + 1, (">",)):
            if len(found) >= min(limit, room):
                break
            if consumer.wants(stored.subject):
                consumer.delivered = stored.seq
                consumer.pending[stored.seq] = now + wait
                reply = f"$JS.ACK.{self.name}.{name}.1.{stored.seq}.{stored.seq}.0.0"
                found.append(Message(stored.subject, stored.data, stored.headers, stored.seq, reply))
        return found

    def ack(self, name: str, seq: int) -> None:
        """Acknowledge: a work queue forgets the message, whoever says so and however late."""
        consumer = self.consumers.get(name)
        if consumer is not None:
            consumer.pending.pop(seq, None)
            if self.config.get("retention") == "workqueue":
                self.remove(seq)

    def progress(self, name: str, seq: int) -> None:
        """Extend the time to acknowledge."""
        consumer = self.consumers.get(name)
        if consumer is not None and seq in consumer.pending:
            consumer.pending[seq] = self._now() + consumer.config.get("ack_wait", 30 * NANO) / NANO

    def consumer_state(self, name: str) -> ConsumerState:
        """Position and counts of a durable. Raises NotFound."""
        consumer = self.consumer(name)
        consumer.forget_dead(self._now())
        pending = sum(consumer.wants(stored.subject) for stored in self.after(consumer.delivered + 1, (">",)))
        return ConsumerState(consumer.delivered, len(consumer.pending), pending)
