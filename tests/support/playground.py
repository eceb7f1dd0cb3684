"""The playground as its script meets it: a form is sent, events come back."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Heard:
    """What a browser was told."""

    status: int = 0
    refused: str = ""
    gone: bool = False
    order: list[tuple[int, str]] = field(default_factory=list)
    """Of which answer, and what."""
    jobs: dict[int, str | None] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=lambda: defaultdict(str))
    words: dict[tuple[int, str], str] = field(default_factory=dict)
    """The last words of each answer and kind."""
    figures: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, name: str, data: str) -> None:
        """One event."""
        self.gone |= name == "gone"
        if name == "refused":
            self.refused = data
        for said in json.loads(data) if name == "told" else ():
            self._said(said)

    def _said(self, said: Mapping[str, Any]) -> None:
        index, what = said["answer"], said["what"]
        self.order.append((index, what))
        if what == "asked":
            self.jobs[index] = said["job"]
        if what == "switched":
            self.texts[index] = ""
        if what == "text":
            self.texts[index] += said["text"]
        if "words" in said:
            self.words[index, what] = said["words"]
        self.figures[index].update(said.get("rows", ()))


async def word(browser: httpx.AsyncClient, project: str = "acme") -> str:
    """What the page's forms carry."""
    page = await browser.get("/playground", params={"project": project})
    found = re.search(r'name="forms" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@asynccontextmanager
async def asking(browser: httpx.AsyncClient, **fields: str) -> AsyncIterator[AsyncIterator[Heard]]:
    """Press once; gives what was heard so far, each time something is."""
    form = {"forms": await word(browser, fields.get("project", "acme")), "model_1": "fast", "prompt": "Hello", **fields}
    headers = {"origin": str(browser.base_url).rstrip("/")}
    async with browser.stream("POST", "/playground/play", data=form, headers=headers) as answer:
        yield _heard(answer)


async def played(browser: httpx.AsyncClient, **fields: str) -> Heard:
    """Press once, and read to the end."""
    async with asking(browser, **fields) as told:
        return await to_the_end(told)


async def to_the_end(told: AsyncIterator[Heard]) -> Heard:
    """All that is heard."""
    heard = [one async for one in told]
    return heard[-1] if heard else Heard()


async def _heard(answer: httpx.Response) -> AsyncIterator[Heard]:
    heard, name, data = Heard(answer.status_code), "", list[str]()
    async for line in answer.aiter_lines():
        kind, _, rest = line.partition(": ")
        if kind == "event":
            name = rest
        elif kind == "data":
            data.append(rest)
        elif not line and name:
            heard.take(name, "\n".join(data))
            name, data = "", []
            yield heard
