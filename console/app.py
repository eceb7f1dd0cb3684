"""The routes, all of them: each asks for a session but those to log in, the files that pages load, and health."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from console.asking import Declined, NoAnswer
from console.flowing import Flowing
from console.guarding import CHECK, Guard, Headed, form
from console.live import Feeds, event
from console.panels import GROUPS, Amiss, Desks, Panel
from job_contracts.operating import AskNote
from runtime.bus.port import BusError
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from console.pages import Pages
    from console.people import People, Person
    from console.sessions import Session
    from console.turns import Turns
    from runtime.telemetry import Telemetry

FRESH = {"cache-control": "no-cache"}
"""Of files: kept, but asked for again each time; a new version is never missed."""
NO_ANSWER = "Nothing is shown, because nothing is known: {}. This page tries again by itself."
GONE = event("gone", "this session has ended")
"""What a page that is kept current hears last: it loads itself again, and so comes to the login."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the routes need."""

    desks: Desks
    people: People
    guard: Guard
    feeds: Feeds
    turns: Turns
    pages: Pages
    panels: Sequence[Panel]
    telemetry: Telemetry

    def listed(self, person: Person) -> list[Panel]:
        """The panels of somebody's navigation."""
        return [panel for panel in self.panels if panel.letter and panel.shows(person)]


def application(console: Console, told: Callable[[str, str], tuple[int, str, bytes]]) -> ASGIApp:
    """All of it. ``told``: what health says for a path and an Accept header."""
    routes = [
        Route("/", _Home(console).answer, methods=["GET"]),
        Route("/login", _Login(console).answer, methods=["GET", "POST"]),
        Route("/logout", _Logout(console).answer, methods=["POST"]),
        *(_file(name, kind, body) for name, (kind, body) in console.pages.static.items()),
        *(_told(told, path) for path in ("/livez", "/readyz")),
    ]
    for panel in console.panels:
        one = _Panel(console, panel)
        routes.append(Route(f"/{panel.name}", one.page, methods=["GET"]))
        routes += [Route(f"/{panel.name}/live", one.live, methods=["GET"])] if panel.live else []
        routes += [Route(f"/{panel.name}/{name}", one.acting(name), methods=["POST"]) for name in panel.actions]
        routes += [Route(f"/{panel.name}/{name}", one.taking(name), methods=["GET"]) for name in panel.sheets]
        routes += [Route(f"/{panel.name}/{name}", one.streaming(name), methods=["POST"]) for name in panel.streams]
    return Headed(Starlette(routes=routes, exception_handlers={404: _Missing(console).answer}))


# ----------------------------------------------------------------------------------------------------------- in and out


class _Missing:
    """Where there is nothing: what stands there is the same for everybody."""

    def __init__(self, console: Console) -> None:
        self._made = console.pages.made("missing")

    def answer(self, _: Request, __: Exception) -> Response:
        return HTMLResponse(self._made, 404)


class _Home:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def answer(self, request: Request) -> Response:
        session = await self._console.guard.session(request)
        if session is None:
            return RedirectResponse("/login", 303)
        theirs = self._console.listed(session.person)
        first = min(theirs, key=lambda panel: panel.seen_by == "all")  # a page that is for them alone, if there is one
        return RedirectResponse(f"/{first.name}", 303)


class _Login:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def answer(self, request: Request) -> Response:
        then = _within(request.query_params.get("then", "/"))
        if request.method != "POST":
            return self._page("", then)
        guard = self._console.guard
        fields = await form(request) if guard.ours(request) else None
        if fields is None:
            return self._page("This form came from elsewhere: log in here.", then, 403)
        try:
            person = await self._console.people.holder(fields.get("key", "").strip())
        except BusError:
            return self._page("The broker does not answer, so nobody can say whose key this is.", then, 503)
        if person is None:
            self._console.telemetry.emit("console.refused", WARNING)
            return self._page("This key is not known here, or it has ended.", then, 403)
        self._console.telemetry.emit("console.entered", INFO, by=person.name, role=person.role)
        await _noted(self._console, person, "login")
        response = RedirectResponse(then, 303)
        guard.let_in(response, guard.sessions.open(person, self._console.desks.clock.monotonic()))
        return response

    def _page(self, said: str, then: str, status: int = 200) -> Response:
        return HTMLResponse(self._console.pages.made("login", said=said, then=quote(then, safe="/")), status)


class _Logout:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def answer(self, request: Request) -> Response:
        guard = self._console.guard
        session = await guard.session(request)
        fields = await form(request) if session is not None and guard.ours(request) else None
        if session is None or fields is None or not session.wrote(fields.get("forms", "")):
            return RedirectResponse("/login", 303)
        guard.sessions.close(session)
        await _noted(self._console, session.person, "logout")
        response = RedirectResponse("/login", 303)
        guard.let_out(response)
        return response


async def _noted(console: Console, person: Person, did: str) -> None:
    """Into the audit, if the scheduler answers: who may look must not depend on that, the log has it in any case."""
    try:
        await console.desks.asking.note(AskNote(by=person.name, did=did, on="session", name=person.role))
    except (NoAnswer, Declined) as error:
        console.telemetry.emit("console.not_noted", WARNING, did=did, by=person.name, error=type(error).__name__)


def _query(request: Request) -> str:
    """The address's query as it was sent, with its question mark; ``request.url`` would read Host for it as well."""
    sent = request.scope["query_string"].decode("latin-1")
    return f"?{sent}" if sent else ""


def _within(then: str) -> str:
    """An address of ours to go on to; anything else becomes the first page."""
    return then if then.startswith("/") and not then.startswith("//") and "\\" not in then else "/"


# --------------------------------------------------------------------------------------------------------------- panels


class _Panel:
    def __init__(self, console: Console, panel: Panel) -> None:
        self._console, self._panel = console, panel

    async def page(self, request: Request) -> Response:
        """The whole page, of this moment."""
        session = await self._console.guard.session(request)
        if session is None:
            return RedirectResponse(f"/login?{urlencode({'then': request.scope['path'] + _query(request)})}", 303)
        if not self._panel.shows(session.person):
            return HTMLResponse(self._page(session, request, "", "This page is not for you."), 403)
        try:
            values = await self._read(session.person, dict(request.query_params))
            return HTMLResponse(self._page(session, request, self._shown(values), "", values))
        except NoAnswer as error:
            return HTMLResponse(self._page(session, request, "", NO_ANSWER.format(error)), 503)
        except Declined as error:
            return HTMLResponse(self._page(session, request, "", f"{error}."), 400)

    async def live(self, request: Request) -> Response:
        """The same, again and again: one state for all who look at the same page."""
        session = await self._console.guard.session(request, seen=False)
        if session is None:
            return Response(GONE, media_type="text/event-stream")
        if not self._panel.shows(session.person):
            return Response(status_code=204)  # tells the browser not to come again by itself
        if self._console.feeds.full(session.person.project):
            return Response(status_code=503)
        states = self._states(session, dict(request.query_params))
        return StreamingResponse(states, media_type="text/event-stream")

    async def _read(self, person: Person, query: Mapping[str, str]) -> Mapping[str, object]:
        async with self._console.turns.turn(person):
            return await self._panel.read(self._console.desks, person, query)

    async def _states(self, session: Session, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        person = session.person
        page = (self._panel.name, tuple(sorted(query.items())), person.sees)

        async def made() -> bytes:
            return await self._state(person, query)

        clock, looked = self._console.desks.clock, session.checked
        states = self._console.feeds.states(page, made, every=self._panel.every, project=person.project)
        try:
            async for state in states:
                if clock.monotonic() - looked >= CHECK or not self._console.guard.sessions.lasts(
                    session, clock.monotonic()
                ):
                    looked = clock.monotonic()
                    if not await self._console.guard.holds(session):
                        yield GONE
                        return
                yield state
        finally:
            await states.aclose()

    async def _state(self, person: Person, query: Mapping[str, str]) -> bytes:
        try:
            return event("state", self._shown(await self._read(person, query)))
        except NoAnswer as error:
            return event("unknown", NO_ANSWER.format(error))
        except Declined as error:
            return event("unknown", f"{error}.")
        except Exception as error:  # noqa: BLE001 - the top of the page's loop: it must not end for all who look
            self._console.telemetry.emit("console.failed", WARNING, panel=self._panel.name, error=type(error).__name__)
            return event("unknown", "This page cannot be made at the moment: the console's log says why.")

    def acting(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """The route of one of its actions."""
        action = self._panel.actions[name]

        async def acted(request: Request) -> Response:
            guard = self._console.guard
            session = await guard.session(request, every=0.0)
            if session is None:
                return RedirectResponse("/login", 303)
            fields = await form(request) if guard.ours(request) else None
            if fields is None or not session.wrote(fields.pop("forms", "")):
                return HTMLResponse(self._page(session, request, "", "This form came from elsewhere."), 403)
            person = session.person
            if not self._panel.shows(person) or not person.may(action.role):
                return HTMLResponse(self._page(session, request, "", f"That takes the role {action.role}."), 403)
            try:
                session.said = await action.act(self._console.desks, person, fields)
                self._console.telemetry.emit(
                    "console.acted", INFO, by=person.name, panel=self._panel.name, action=name, ended="done"
                )
            except (NoAnswer, Declined, Amiss) as error:
                unknown = isinstance(error, NoAnswer) and error.unknown
                session.said = f"Not known whether it was done: {error}." if unknown else f"Not done: {error}."
                self._console.telemetry.emit(
                    "console.acted",
                    INFO,
                    by=person.name,
                    panel=self._panel.name,
                    action=name,
                    ended="unknown" if unknown else "refused",
                )
            return RedirectResponse(f"/{self._panel.name}{_query(request)}", 303)

        return acted

    def taking(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """The route of one of its files."""
        take = self._panel.sheets[name]

        async def taken(request: Request) -> Response:
            session = await self._console.guard.session(request)
            if session is None:
                return RedirectResponse("/login", 303)
            if not self._panel.shows(session.person):
                return HTMLResponse(self._page(session, request, "", "This page is not for you."), 403)
            try:
                async with self._console.turns.turn(session.person):
                    sheet = await take(self._console.desks, session.person, dict(request.query_params))
            except NoAnswer as error:
                return HTMLResponse(self._page(session, request, "", f"There is no file: {error}."), 503)
            except Declined as error:
                return HTMLResponse(self._page(session, request, "", f"{error}."), 400)
            headers = {"content-disposition": f'attachment; filename="{sheet.name}"'}
            return Response(sheet.body, 200, headers, sheet.kind)

        return taken

    def streaming(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """The route of something that is answered piece by piece; a script reads it, so a refusal is an event too."""
        stream = self._panel.streams[name]

        def refused(why: str, status: int) -> Response:
            return Response(event("refused", why), status, media_type="text/event-stream")

        async def streamed(request: Request) -> Response:
            guard = self._console.guard
            session = await guard.session(request, every=0.0)
            if session is None:
                return Response(GONE, 403, media_type="text/event-stream")
            fields = await form(request, stream.largest) if guard.ours(request) else None
            if fields is None or not session.wrote(fields.pop("forms", "")):
                return refused("This form came from elsewhere, or is too large.", 403)
            if not self._panel.shows(session.person) or not stream.may(session.person):
                return refused("That takes another role than yours.", 403)
            pieces = self._pieces(stream.flow(self._console.desks, session.person, fields))

            async def ends() -> bytes:
                if self._console.feeds.closed:
                    return event("refused", "The console has ended: what was not finished is cancelled.")
                return b"" if await guard.holds(session, every=CHECK - 2.0) else GONE

            return Flowing(pieces, ends)

        return streamed

    async def _pieces(self, flow: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(flow):
            try:
                async for piece in flow:
                    yield piece
            except Exception as error:  # noqa: BLE001 - the top of the stream: its reader is told, and nobody what it held
                name = type(error).__name__
                self._console.telemetry.emit("console.failed", WARNING, panel=self._panel.name, error=name)
                yield event("refused", "This ended because of a bug: the console's log says which.")

    def _shown(self, values: Mapping[str, object]) -> str:
        return self._console.pages.made(self._panel.name, **values)

    def _page(
        self, session: Session, request: Request, shown: str, amiss: str, values: Mapping[str, object] | None = None
    ) -> str:
        said, session.said = session.said, ""
        person, panel = session.person, self._panel
        allowed = values is not None and (
            any(person.may(action.role) for action in panel.actions.values())
            or any(stream.may(person) for stream in panel.streams.values())
        )
        forms = self._console.pages.made(f"{panel.name}_forms", session=session, **values) if allowed and values else ""
        live = f"/{panel.name}/live{_query(request)}" if panel.live and panel.shows(person) else ""
        return self._console.pages.made(
            "page",
            panel=panel,
            panels=self._console.listed(person),
            groups=GROUPS,
            session=session,
            shown=shown,
            amiss=amiss,
            said=said,
            forms=forms,
            live=live,
            bare=bool(amiss and not shown and request.scope["query_string"]),
        )


# ---------------------------------------------------------------------------------------------------- without a session


def _file(name: str, kind: str, body: bytes) -> Route:
    async def answer(_: Request) -> Response:
        return Response(body, 200, FRESH, kind)

    return Route(f"/static/{name}", answer, methods=["GET"])


def _told(told: Callable[[str, str], tuple[int, str, bytes]], path: str) -> Route:
    async def answer(request: Request) -> Response:
        status, kind, body = told(path, request.headers.get("accept", ""))
        return Response(body, status, None, kind)

    return Route(path, answer, methods=["GET"])
