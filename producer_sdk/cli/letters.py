"""Dead letters as lines and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from job_contracts.codec import encode
from job_contracts.dead import Cause
from job_contracts.letters import DeadLetter, LetterSummary
from producer_sdk.letters import LetterGroup, Tally

_PRIVATE = ("version", "project")


def when(moment: float) -> str:
    """UTC seconds as people write them."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int, state: str) -> str:
    """``2 open letters``."""
    which = "" if state == "any" else f"{state} "
    return f"{number} {which}letter{'' if number == 1 else 's'}"


def group_line(group: LetterGroup) -> str:
    """A cause, its fields apart by tabs."""
    where = group.deployment or ", ".join(group.routes)
    fields = (group.fingerprint, str(group.count), when(group.last), group.kind or group.reason, where, group.detail)
    return "\t".join(_plain(field) for field in fields)


def cause_line(cause: Cause) -> str:
    """The same of several projects."""
    where = ", ".join(cause.deployments or cause.routes)
    said = (cause.kind or cause.reason, where, cause.detail)
    fields = (", ".join(cause.projects), cause.fingerprint, str(cause.count), when(cause.last), *said)
    return "\t".join(_plain(field) for field in fields)


def letter_line(letter: LetterSummary) -> str:
    """A letter, its fields apart by tabs."""
    became = f"{letter.state} as {letter.replayed_as}" if letter.replayed_as else letter.state
    fields = (letter.job, when(letter.at), letter.route, letter.kind or letter.reason, became, letter.detail)
    return "\t".join(_plain(field) for field in fields)


def group_told(group: LetterGroup) -> dict[str, Any]:
    """A cause as JSON."""
    return {name: getattr(group, name) for name in group.__slots__}


def letter_told(letter: DeadLetter) -> dict[str, Any]:
    """A letter as JSON, without what is the services' own."""
    found: dict[str, Any] = json.loads(encode(letter))
    for name in _PRIVATE:
        found.pop(name, None)
    for name in ("version", "token", "body_hash", "blob"):
        found.get("ticket", {}).pop(name, None)
    found["replayable"] = letter.replayable
    return found


def letter_table(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of ``show``: what happened first, its story last; --json tells everything."""
    ticket, replay = found.get("ticket", {}), found.get("replay", {})
    for name in ("job", "state", "reason", "fingerprint", "detail"):
        yield name, _plain(str(found[name]))
    yield "at", when(found["at"])
    for name in ("route", "lane", "session", "replay_of"):
        if ticket.get(name):
            yield name, str(ticket[name])
    if found["state"] == "open" and found["replayable"]:
        until = f", kept until {when(found['kept_until'])}" if "kept_until" in found else ""
        yield "body", f"{found['blob']['size']} bytes{until}"
    elif found["state"] == "open":
        yield "body", "none: there is nothing to replay"
    if replay:
        name = "replayed as" if found["state"] == "replayed" else "replay begun as"
        yield name, f"{replay['job']} on {replay['route']}"
    if found["why"]:
        yield "why", _plain(found["why"])
    if found["state"] != "open":
        yield "closed", when(found["closed"])
    for record in found["history"]:
        failure = record.get("failure", {})
        what = _plain(f"{failure.get('kind', '')}: {failure.get('message', '')}")
        yield f"attempt {record['number']}", f"{when(record['started'])} {record['deployment']} {what}"


def tally_told(tally: Tally) -> dict[str, Any]:
    """A tally as JSON."""
    failures = [json.loads(encode(handled)) for handled in tally.failures]
    return {"done": tally.done, "already": tally.already, "failed": tally.failed, "failures": failures}


def tally_table(verb: str, tally: Tally) -> Table:
    """A tally for people."""
    table = Table(show_header=False, box=None, pad_edge=False)
    done = "replayed" if verb == "replay" else "discarded"
    for name, number in ((done, tally.done), ("already", tally.already), ("failed", tally.failed)):
        table.add_row(name, str(number))
    return table


def _plain(field: str) -> str:
    return " ".join(field.split())
