"""Debian's chromium over the console, driven by Playwright: whatever a page does amiss is written down."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support.needed import missing

LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""What axe-core calls the rules of WCAG 2.2 AA."""
WIDE, NARROW = 1280, 360
HEIGHT = 800
_ROWS = """() => {
  const words = (one) => (one.innerText || one.textContent).replace(/\\s+/g, " ").trim();
  return Object.fromEntries([...document.querySelectorAll("#shown tr[id]")].map(
    (row) => [row.id, [...row.cells].map(words)]));
}"""
_FIGURES = """() => Object.fromEntries([...document.querySelectorAll("#shown dd[id]")].map(
  (one) => [one.id, one.innerText.trim()]))"""
Scheme = Literal["light", "dark"]


def executable() -> str:
    """The browser; without it the test cannot run."""
    found = shutil.which("chromium")
    if found is None:
        missing("Chromium, in which the console is tested, is", "chromium")
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """One browser, without a window. Nothing of it talks to anybody by itself."""
    async with async_playwright() as play:
        # The sandbox wants a user that is not root; /dev/shm is small in containers.
        quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
        browser = await play.chromium.launch(executable_path=executable(), args=quiet)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Tab:
    """One person's page. ``amiss``: what went wrong so far, in words; ``asked``: each address that was asked for."""

    context: BrowserContext
    page: Page
    origin: str
    amiss: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("console", lambda told: self._said(told.type, told.text))
        self.context.on("weberror", lambda error: self.amiss.append(f"{self.page.url}: {error.error}"))
        self.context.on("request", lambda request: self._wanted(request.url))
        self.page.on("dialog", self._asked)

    async def go(self, path: str) -> int:
        """Open an address of the console; returns its status."""
        answer = await self.page.goto(f"{self.origin}{path}", wait_until="load")
        return 0 if answer is None else answer.status

    async def login(self, key: str) -> None:
        """With a key, as a person does."""
        await self.go("/login")
        await self.page.get_by_label("Your key").fill(key)
        await self.page.get_by_role("button", name="Log in").click()
        await self.page.wait_for_url(lambda url: urlsplit(url).path not in {"/login", "/"})

    async def looks(self, width: int, scheme: Scheme) -> None:
        """Make the window so wide, and its owner like it so."""
        await self.page.set_viewport_size({"width": width, "height": HEIGHT})
        await self.page.emulate_media(color_scheme=scheme)

    async def sideways(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    async def words(self, selector: str = "main") -> str:
        """What is to be read there."""
        return await self.page.locator(selector).inner_text()

    async def rows(self) -> dict[str, list[str]]:
        """What is to be read in each cell of the rows that have a name."""
        found: dict[str, list[str]] = await self.page.evaluate(_ROWS)
        return found

    async def figures(self) -> dict[str, str]:
        """What is to be read in the figures that have a name."""
        found: dict[str, str] = await self.page.evaluate(_FIGURES)
        return found

    async def barriers(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA."""
        only = {"runOnly": {"type": "tag", "values": list(LEVELS)}, "resultTypes": ["violations"]}
        found = await Axe().run(self.page, options=only)
        return [
            f"{one['id']}: {one['help']}: {node['html'][:300]} ({' '.join(node['failureSummary'].split())[:300]})"
            for one in found.response["violations"]
            for node in one["nodes"][:3]
        ]

    def _said(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.amiss.append(f"{self.page.url}: {kind}: {text}")

    def _wanted(self, url: str) -> None:
        self.asked.append(url)
        if f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" != self.origin:
            self.amiss.append(f"{self.page.url}: asked for {url}")

    async def _asked(self, dialog: Any) -> None:
        self.amiss.append(f"{self.page.url}: opened a dialog: {dialog.message}")
        await dialog.dismiss()


@asynccontextmanager
async def tab(browser: Browser, origin: str, key: str | None = None, **more: Any) -> AsyncIterator[Tab]:
    """A browser of its own for one person, logged in with a key."""
    context = await browser.new_context(viewport={"width": WIDE, "height": HEIGHT}, reduced_motion="reduce", **more)
    context.set_default_timeout(15_000)
    try:
        made = Tab(context, await context.new_page(), origin.rstrip("/"))
        if key is not None:
            await made.login(key)
        yield made
    finally:
        await context.close()


def paths(hrefs: Iterable[str | None]) -> list[str]:
    """Addresses of ours among links, without what is behind ``#``, each once."""
    found = (href.partition("#")[0] for href in hrefs if href is not None)
    return list(dict.fromkeys(path for path in found if path.startswith("/")))
