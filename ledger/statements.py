"""A provider's own account of what was used and what it cost, read from the exports that providers hand out (pure).

    statement = read(text)          # the form is told by the content

``openai``
    JSON pages of ``/v1/organization/usage/completions`` and ``/v1/organization/costs`` (grouped by model, by line
    item), and their CSV.
``anthropic``
    JSON of ``/v1/organizations/usage_report/messages`` and ``/v1/organizations/cost_report`` (amounts in cents), and
    their CSV.
``csv``
    Columns ``date`` and ``model``; optional ``requests``, ``input_tokens`` (all of them, cached ones included),
    ``cached_tokens``, ``cache_write_tokens``, ``output_tokens`` (reasoning included), ``reasoning_tokens``, ``cost``
    (US dollars), ``request_id``.

Several pages may follow one another in a file. What a form does not tell stays ``None``: usage and costs come apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ledger.statement_csv import rows as csv_rows
from ledger.statement_json import rows as json_rows
from ledger.statement_lines import BadStatement, Line

__all__ = ["FORMS", "MAX_BYTES", "MAX_LINES", "BadStatement", "Form", "Line", "Statement", "read"]

Form = Literal["auto", "openai", "anthropic", "csv"]
FORMS: tuple[Form, ...] = get_args(Form)
MAX_BYTES = 64 * 1024 * 1024
"""Of one file."""
MAX_LINES = 1_000_000
"""Of one file; a statement call by call that is longer goes day by day."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What one file says, in its order."""

    lines: tuple[Line, ...]

    @property
    def by_request(self) -> bool:
        """Whether it names single calls."""
        return any(line.request for line in self.lines)


def read(data: bytes, form: Form = "auto") -> Statement:
    """Raises BadStatement, which names the place."""
    if len(data) > MAX_BYTES:
        raise BadStatement(f"the file is larger than {MAX_BYTES // 2**20} MiB; divide it by days")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadStatement("the file is no UTF-8 text", line=data.count(b"\n", 0, error.start) + 1) from error
    if not text.strip():
        raise BadStatement("the file is empty")
    lines = tuple(_bounded(json_rows(text, form) if text.lstrip()[:1] in "{[" else csv_rows(text, form)))
    if not lines:
        raise BadStatement("the file tells of no use at all")
    return Statement(lines)


def _bounded(found: Iterator[Line]) -> Iterator[Line]:
    for number, line in enumerate(found):
        if number >= MAX_LINES:
            raise BadStatement(f"there are more than {MAX_LINES} lines; divide the file by days", line=line.line)
        yield line
