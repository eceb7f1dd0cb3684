"""Posts alerts to the one configured address, signed, until it takes them or the tries are used up.

The header ``Penstock-Signature`` is ``t=SECONDS,v1=HEX``: the time of the post, and the HMAC-SHA256, under the secret,
of that time as text, a dot, and the body's bytes. What waits to be posted is a row of ``alerts``: a restart loses none,
and an answer that got lost means a second post with the same ``id``.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from ledger.tables import alerts
from runtime.service import Duty
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    import httpx

    from ledger.database import Database
    from runtime.clock import Clock
    from runtime.settings.services import Alerting
    from runtime.telemetry import Telemetry

SIGNATURE = "Penstock-Signature"
TIMEOUT = 10.0
"""Seconds that one post may take as a whole, and each part of it."""
MOST_TRIES = 20
"""Tries of one alert: about half a day."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 3_600.0
"""Seconds after the first failure; each further pause is twice as long."""
AT_ONCE = 20
"""Alerts in one round."""
LOOK = 1.0
"""Seconds between two looks for what is due."""


class BadWebhook(ValueError):
    """The address is none that can be posted to; the text does not hold it."""


@dataclass(frozen=True, slots=True)
class Round:
    """What became of the alerts that were due."""

    posted: int = 0
    failed: int = 0
    given_up: int = 0


def signature(secret: str, at: int, body: bytes) -> str:
    """The header's value for a body posted at ``at`` (UTC seconds)."""
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, 'sha256').hexdigest()}"


def check(settings: Alerting) -> None:
    """Raises BadWebhook unless alerts can be posted as the configuration says, or are not to be posted at all."""
    if settings.webhook is None:
        return
    import httpx  # noqa: PLC0415 - loaded where there is an address to post to

    try:
        url = httpx.URL(settings.webhook)
    except httpx.InvalidURL as error:
        raise BadWebhook("ledger.alerts.webhook is no address") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise BadWebhook("ledger.alerts.webhook must begin with https:// or http://")
    if not settings.secret.get_secret_value():
        raise BadWebhook("ledger.alerts.webhook needs ledger.alerts.secret: posts are signed with it")


class Webhook(Duty):
    """Posts what is due. Redirects are not followed, and what the other side answers is not read."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry, settings: Alerting) -> None:
        super().__init__("webhook", telemetry)
        check(settings)
        self._database = database
        self._clock = clock
        self._url = settings.webhook or ""
        self._secret = settings.secret.get_secret_value()
        self._client: httpx.AsyncClient | None = None
        self.timeout = TIMEOUT

    async def opened(self) -> None:
        """Proxies and certificates of the environment are not taken: the post goes where the configuration says."""
        if not self._url:
            return
        import httpx  # noqa: PLC0415 - as above

        self._client = httpx.AsyncClient(follow_redirects=False, timeout=self.timeout, trust_env=False)

    async def closed(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def run(self) -> None:
        """Until it is to stop; without an address there is nothing to do."""
        if not self._url:
            await self.stopping.wait()
        while await self.pause(LOOK):
            try:
                await self.post_due()
            except (OSError, SQLAlchemyError) as error:
                self.telemetry.emit("webhook.failed", WARNING, error=type(error).__name__)

    async def post_due(self) -> Round:
        """Post what is due now, ``AT_ONCE`` at most, the oldest first."""
        now = self._clock.wall()
        query = select(alerts.c.id, alerts.c.body, alerts.c.tries).where(alerts.c.due <= now)
        async with self._database.engine.connect() as connection:
            rows = (await connection.execute(query.order_by(alerts.c.due, alerts.c.at).limit(AT_ONCE))).all()
        posted = failed = given_up = 0
        for number, body, tries in rows:
            problem = await self._post(body.encode())
            due = None
            if problem is None:
                posted += 1
                self.telemetry.emit("webhook.posted", INFO, alert=number, tries=tries + 1)
            elif tries + 1 >= MOST_TRIES:
                given_up += 1
                self.telemetry.emit("webhook.given_up", WARNING, alert=number, error=problem)
            else:
                failed += 1
                due = self._clock.wall() + min(FIRST_PAUSE * 2.0**tries, LONGEST_PAUSE)
                self.telemetry.emit("webhook.retried", INFO, alert=number, error=problem)
            async with self._database.writing() as connection:
                await connection.execute(update(alerts).where(alerts.c.id == number).values(due=due, tries=tries + 1))
        return Round(posted, failed, given_up)

    async def _post(self, body: bytes) -> str | None:
        """What went wrong, ``None`` if it was taken."""
        import httpx  # noqa: PLC0415 - as above

        assert self._client is not None  # noqa: S101 - opened
        at = int(self._clock.wall())
        headers = {"content-type": "application/json", SIGNATURE: signature(self._secret, at, body)}
        try:
            async with (
                asyncio.timeout(self.timeout),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return None if answer.is_success else f"status {answer.status_code}"
        except TimeoutError:
            return "TimeoutError"
        except httpx.HTTPError as error:
            return type(error).__name__
