"""What the tour prints: events as they happen, a line of progress where there is a terminal, tables in the end."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

WIDEST, INDENT = 100, 9
_WORD = re.compile(r"\s*\S+|\s+$")
EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal to redraw."""


class Screen:
    """Prints to standard output; without a terminal the same words without colours and without redrawing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._last_line = 0.0
        self._column = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def title(self, words: str) -> None:
        """The headline of a part."""
        self._console.print()
        self._console.print(Text(words, style="bold"))

    def say(self, words: str, *, style: str = "") -> None:
        """A line of what happens, with the time."""
        self._print(
            Text.assemble((f"{self.seconds:5.1f} s  ", "dim"), (self._wrapped(words, INDENT, begun=INDENT), style))
        )

    def plain(self, words: str, *, style: str = "", indent: int = 0) -> None:
        """A line without the time; ``indent`` columns before the lines that it is continued on."""
        self._print(Text(self._wrapped(words, indent), style=style))

    def piece(self, words: str, *, style: str = "") -> None:
        """A piece of a text that goes on; lines break between words, below the words of ``say``."""
        for word in _WORD.findall(words):
            if self._column + len(word) > min(WIDEST, self._console.width) or not self._column:
                self._console.print(("\n" if self._column else "") + " " * INDENT, end="")
                self._column, word = INDENT, word.lstrip()  # noqa: PLW2901 - a line does not begin with a space
            self._console.print(Text(word, style=style), end="")
            self._column += len(word)
        self._console.file.flush()

    def end(self) -> None:
        """End a text that came in pieces."""
        self._console.print()
        self._column = 0

    def table(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
        """A table, its first ``left`` columns aligned to the left, the others to the right."""
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0)
        )
        for index, heading in enumerate(headings):
            table.add_column(heading, justify="left" if index < left else "right", header_style="dim", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._console.print()
        self._console.print(table, width=min(WIDEST, max(self._console.width, 80)))

    @contextmanager
    def progress(self, total: int) -> Iterator[Counting]:
        """A bar at the bottom while other lines are printed above it."""
        bar = Progress(
            TextColumn("       "),
            BarColumn(bar_width=28),
            _Figures(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar = bar
        try:
            with bar:
                yield Counting(self, bar, bar.add_task("", total=total, in_flight=0, moved=0))
        finally:
            self._bar = None

    def count(self, done: int, total: int, in_flight: int, moved: int) -> None:
        """The same as a line, now and then, where nothing can be redrawn."""
        if self._console.is_terminal or (self.seconds - self._last_line < EVERY and done != total):
            return
        self._last_line = self.seconds
        self.say(_figures(done, total, in_flight, moved))

    def _wrapped(self, words: str, indent: int, *, begun: int = 0) -> str:
        """Lines broken between words, the first ``begun`` columns to the right; lines that were there stay."""
        width = min(WIDEST, self._console.width)
        made: list[str] = []
        for line in words.splitlines() or [""]:
            first = " " * (indent if made else begun)
            made += textwrap.wrap(line, width, initial_indent=first, subsequent_indent=" " * indent) or [""]
        return "\n".join(made)[begun:]

    def _print(self, text: Text) -> None:
        (self._bar.console if self._bar is not None else self._console).print(text)


class Counting:
    """The bar in a program's hands."""

    def __init__(self, screen: Screen, bar: Progress, task: int) -> None:
        self._screen, self._bar, self._task = screen, bar, task

    def at(self, done: int, total: int, in_flight: int, moved: int) -> None:
        """How far it is."""
        self._bar.update(self._task, completed=done, in_flight=in_flight, moved=moved)  # type: ignore[arg-type]
        self._screen.count(done, total, in_flight, moved)


class _Figures(ProgressColumn):
    def render(self, task: Task) -> Text:
        fields = task.fields
        return Text(
            _figures(int(task.completed), int(task.total or 0), fields["in_flight"], fields["moved"]), style="cyan"
        )


def _figures(done: int, total: int, in_flight: int, moved: int) -> str:
    return f"{done} of {total} done, {in_flight} under way, {moved} retried"
