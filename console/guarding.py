"""Who may, from where, and what a page may load: nothing but what its own origin serves.

Every route but a few asks for a session. What changes something needs three things that another site cannot give: a
cookie that is not sent with a foreign page's form, an origin that is ours, and the session's own word in the form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect

from console.sessions import Session
from runtime.bus.port import BusError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from console.people import People
    from console.sessions import Sessions
    from runtime.clock import Clock
    from runtime.settings.console import Console

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",  # without any, browsers send forms with the origin "null"
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer, errors included."""
MAX_FORM = 16 * 1024
MAX_FIELDS = 64
CHECK = 15.0
"""Seconds after which it is asked again whether a session's key still holds."""


class Guard:
    """Sessions by their cookie, and forms by where they come from."""

    def __init__(self, settings: Console, people: People, sessions: Sessions, clock: Clock) -> None:
        self._settings, self._people, self.sessions, self._clock = settings, people, sessions, clock
        self._safe = (settings.origin or "").startswith("https://")
        self._cookie = "__Host-penstock" if self._safe else "penstock"

    async def session(self, request: Request, *, seen: bool = True, every: float = CHECK) -> Session | None:
        """Whose request it is. ``seen``: whether it counts as a sign that somebody is there; ``every`` as in ``holds``:
        0 where something is to be done, which a key that was revoked a moment ago must not.
        """
        now = self._clock.monotonic()
        session = self.sessions.find(request.cookies.get(self._cookie, ""), now)
        if session is None or not await self.holds(session, every=every):
            return None
        if seen:
            session.seen = now
        return session

    async def holds(self, session: Session, *, every: float = CHECK) -> bool:
        """Whether a session goes on; one whose key was revoked ends, and so does one of which nobody can say.

        ``every``: seconds after which it is asked again.
        """
        now = self._clock.monotonic()
        if not self.sessions.lasts(session, now):
            return False
        if session.person.key is not None and now - session.checked >= every:
            try:
                person = await self._people.still(session.person)
            except BusError:
                person = None
            if person is None:
                self.sessions.close(session)
                return False
            session.person, session.checked = person, now
        return True

    def ours(self, request: Request) -> bool:
        """Whether a form was sent from one of our pages, as far as the browser says where it comes from."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin")
        if site != "same-origin" or origin is None:
            return False
        if self._settings.origin is not None:
            return origin == self._settings.origin
        host = request.headers.get("host", "")
        return bool(host) and origin in {f"http://{host}", f"https://{host}"}

    def let_in(self, response: Response, token: str) -> None:
        """Give the browser its session. Not ``strict``: a link in an alert is to open the page it names."""
        response.set_cookie(self._cookie, token, path="/", secure=self._safe, httponly=True, samesite="lax")

    def let_out(self, response: Response) -> None:
        """Take it back."""
        response.delete_cookie(self._cookie, path="/", secure=self._safe, httponly=True, samesite="lax")


async def form(request: Request, largest: int = MAX_FORM) -> dict[str, str] | None:
    """The fields of a form; ``None`` for what is none, or is larger than any of ours."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest:
                return None
    except ClientDisconnect:  # nobody hears the answer; without this the log has it as a bug
        return None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return None


class Headed:
    """An application whose every answer has ``HEADERS``, and is kept by no cache unless it says otherwise."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self._headers]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._application(scope, receive, headed)
