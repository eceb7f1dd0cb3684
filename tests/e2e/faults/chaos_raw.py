"""A producer of few lines that knows the contracts and the broker's own client, nothing of the SDK's machinery.

It also hears everything its project may hear, whoever waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.desk import AskJobs, Results
from job_contracts.results import Result
from producer_sdk.request import prepare
from tests.e2e.faults.events import Acked, Event, Heard, Refused, Seen, Submitted
from tests.e2e.faults.fleet_settings import project_key

FIRST = {"Nats-Expected-Last-Subject-Sequence": "0"}
ALREADY_STORED = 10071
"""Only the answer to ``FIRST`` is to be believed: that a subject is full may be said of what will never be stored."""
ASK_EVERY = 3.0
"""Seconds between two questions for a result that was not heard."""


class RawProducer:
    """One project's connection."""

    def __init__(self, urls: tuple[str, ...], project: str, tell: Callable[[Event], None]) -> None:
        self._urls = urls
        self._project = project
        self._tell = tell
        self._stem = f"raw{secrets.token_hex(6)}"
        self._heard: dict[str, asyncio.Future[str]] = {}
        self._client: Client

    async def open(self) -> None:
        async def quietly(_: Exception) -> None:
            """What breaks on the way is what the run is about."""

        self._client = await nats.connect(
            list(self._urls),
            user=self._project,
            password=project_key(self._project),
            inbox_prefix=subjects.inbox_prefix(self._project).encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            ping_interval=2,
            max_outstanding_pings=2,
            error_cb=quietly,
        )
        await self._client.subscribe(f"{subjects.PUBLIC}.live.{self._project}.>", cb=self._on_live)

    async def close(self) -> None:
        with contextlib.suppress(NatsError, OSError):
            await self._client.close()

    async def _on_live(self, message: Msg) -> None:
        if not message.subject.endswith(".res"):
            return
        body = message.data.decode()
        self._tell(Heard(at=time.time(), project=self._project, subject=message.subject, body=body))
        _, job = subjects.project_and_job(message.subject.removesuffix(".res"))
        waiting = self._heard.get(job)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)

    async def complete(self, number: int, asked: dict[str, Any], still: Callable[[], bool]) -> None:
        """Submit until it is known to be stored, then wait for the result; as long as ``still()``."""
        options = dict(asked)
        model, messages = options.pop("model"), options.pop("messages")
        job, now = f"{self._stem}-{secrets.token_hex(8)}", time.time()
        token = secrets.token_hex(8)
        request = prepare(model, messages, (), options, stream=False, new_id=job, token=token, now=now)
        waiting = self._heard[job] = asyncio.get_running_loop().create_future()
        self._tell(
            Submitted(
                at=now,
                number=number,
                producer="raw",
                project=self._project,
                job=job,
                body_hash=request.ticket.body_hash,
                deadline=request.ticket.deadline,
                not_before=request.ticket.not_before,
            )
        )
        try:
            if not await self._store(job, request.body, request.header, still):
                self._tell(Refused(at=time.time(), number=number, why="never stored"))
                return
            self._tell(Acked(at=time.time(), number=number))
            body = await self._result(job, waiting, still)
            if body is not None:
                self._tell(Seen(at=time.time(), number=number, project=self._project, body=body))
        finally:
            del self._heard[job]

    async def _store(self, job: str, body: bytes, ticket: str, still: Callable[[], bool]) -> bool:
        """The same bytes again until the broker says that they are there."""
        subject, headers = subjects.submit(self._project, job), {subjects.H_TICKET: ticket, **FIRST}
        while still():
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                answer = json.loads((await self._client.request(subject, body, timeout=3.0, headers=headers)).data)
                if "error" not in answer or answer["error"].get("err_code") == ALREADY_STORED:
                    return True
            await asyncio.sleep(0.2)
        return False

    async def _result(self, job: str, waiting: asyncio.Future[str], still: Callable[[], bool]) -> str | None:
        question = encode(AskJobs(jobs=(job,)))
        while still():
            await asyncio.wait({waiting}, timeout=ASK_EVERY)
            if waiting.done():
                return waiting.result()
            with contextlib.suppress(NatsError, OSError, TimeoutError, ContractError):
                reply = await self._client.request(subjects.api(self._project, "results"), question, timeout=3.0)
                for record in decode(Results, reply.data).records:
                    if decode(Result, record).job == job:
                        return record
        return None
