"""What a page of the console says, as it is read: cells of rows by their headings, words, and what it must not hold."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser


def words(page: str) -> str:
    """Text without markup; what is drawn aside, which says the same."""
    return " ".join(unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def cells(page: str) -> dict[str, dict[str, str]]:
    """The rows that have an id: cell by heading of its column; of columns of the same name the first."""
    found: dict[str, dict[str, str]] = {}
    for table in re.findall(r"<table>(.*?)</table>", page, re.DOTALL):
        head = [words(one) for one in re.findall(r"<th [^>]*>(.*?)</th>", table.partition("</thead>")[0], re.DOTALL)]
        for name, row in re.findall(r'<tr id="([^"]+)"[^>]*>(.*?)</tr>', table, re.DOTALL):
            told = [words(one) for one in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
            assert len(told) == len(head), (name, head, told)
            for heading, cell in zip(head, told, strict=True):
                found.setdefault(unescape(name), {}).setdefault(heading, cell)
    return found


def gone(page: str) -> bool:
    """Whether no element of the page is what somebody put into a name, and no template ran there."""
    made = _Tags()
    made.feed(page)
    return not {"img", "b", "i"} & made.found and made.scripts == ["/static/console.js"] and "1337" not in words(page)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        if tag == "script":
            self.scripts.append(dict(attrs).get("src"))
