"""The documentation as tests see it: pages, their code blocks with the comment that marks each, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<language>[a-z]*)[^\n]*\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- (?P<mark>[a-z]+(?:: [a-z_.]+)?) -->\n\Z")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)

_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|toml|yaml|conf|json|md|jsonl)|[\w-]+\.(?:toml|yaml|lock))`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``mark`` is the comment in the line above it: how it is run, or what it is."""

    page: str
    line: int
    language: str
    code: str
    mark: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page a reader is sent to."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks() -> list[Block]:
    """Every fenced block of every page."""
    return [block for page in pages() for block in _blocks(page)]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    for found in _FENCE.finditer(text):
        before = text[: found.start()]
        mark = _MARK.search(before)
        yield Block(name, before.count("\n") + 1, found["language"], found["code"], mark["mark"] if mark else "")


def links(page: Path) -> list[str]:
    """Targets of its links, code blocks apart."""
    return [found["target"] for found in _LINK.finditer(_FENCE.sub("", page.read_text(encoding="utf-8")))]


def anchors(page: Path) -> set[str]:
    """The names of its headings in links."""
    titles = [found["title"] for found in _HEADING.finditer(_FENCE.sub("", page.read_text(encoding="utf-8")))]
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def paths_named(page: Path) -> list[str]:
    """Files of this repository that it names in running text, as code."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.findall(
        r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|toml|yaml|conf|json|md|jsonl)|(?:[\w-]+\.)(?:toml|yaml|lock))`", text
    )
