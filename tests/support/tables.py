"""Tables of the reference pages, written from the code that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types
import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

import console.instruments
import gateway.instruments
import ledger.instruments
import scheduler.instruments
import workers.instruments
from job_contracts.attempts import Timeouts
from job_contracts.failures import PERMITS, Action, Bench, FailureKind, Scope
from producer_sdk.cli.app import app
from runtime import settings
from runtime.crash import POINTS
from runtime.settings import console as console_settings
from runtime.settings import routing, services, telemetry
from runtime.telemetry import COMMON, Instrument, Metrics
from tests.support.docstrings import said_of

SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("The file", settings.Config, ""),
    ("`providers.NAME`", routing.Provider, ""),
    ("`providers.NAME.limits`", routing.Limits, ""),
    ("`providers.NAME.domains.NAME`", routing.Domain, ""),
    ("`routes.NAME`", routing.Route, ""),
    (
        "`routes.NAME.timeouts`",
        Timeouts,
        "Written in seconds or with a unit: `500ms`, `8s`, `2m`, `1h`. `ttft` is short for `first_token`.",
    ),
    ("`routes.NAME.on_switch[]`", routing.Switching, ""),
    ("`projects.NAME`", routing.Project, ""),
    ("`nats`", services.Nats, ""),
    ("`scheduler`", services.Scheduling, ""),
    ("`scheduler.lanes.NAME`", routing.LaneShare, ""),
    ("`scheduler.breaker`", routing.Breaker, ""),
    ("`workers`", services.Workers, ""),
    ("`gateway`", services.Edge, ""),
    ("`gateway.files`", services.Filing, ""),
    ("`gateway.batches`", services.Batching, ""),
    ("`console`", console_settings.Console, ""),
    ("`console.people.NAME`", console_settings.Login, ""),
    ("`ledger`", services.LedgerSettings, ""),
    ("`ledger.alerts`", services.Alerting, ""),
    ("`telemetry`", telemetry.TelemetrySettings, ""),
    ("`telemetry.traces`", telemetry.Traces, ""),
)
"""Heading, model and a further sentence of every section of the configuration."""


def configuration() -> str:
    """Every key of the configuration: form, default, meaning."""
    return "\n\n".join(f"### {title}\n\n{_section(kind, more)}" for title, kind, more in SECTIONS)


def failures() -> str:
    """Every kind of failure, what it means, and what it permits."""
    said = said_of(FailureKind)
    rows = [
        (
            f"`{kind.value}`",
            _plain(said[kind.name]),
            PERMITS[kind].action.value,
            "yes" if PERMITS[kind].counts else "no",
            "" if PERMITS[kind].bench is Bench.NO else PERMITS[kind].bench.value,
            "" if PERMITS[kind].scope is Scope.REQUEST else PERMITS[kind].scope.value,
            "yes" if PERMITS[kind].letter else "",
        )
        for kind in FailureKind
    ]
    return _table(("kind", "what happened", "then", "counts", "bench", "reach", "letter"), rows)


def words(of: type[Action | Bench | Scope]) -> str:
    """The words of one column of the failures' table."""
    return "\n".join(f"- `{member.value}`: {_plain(said_of(of)[member.name])}" for member in of)


def metrics() -> str:
    """Every metric of the services, by process."""
    about = [
        ("`penstock_process_info`", "gauge", "`process`", "Which process this is"),
        ("`penstock_build_info`", "gauge", "`version`", "Which version this is"),
        (
            *("`penstock_configuration_info`", "gauge", "`fingerprint`"),
            "Which configuration this process has, as far as all services must agree on it",
        ),
    ]
    told = [
        ("every process", COMMON, about),
        ("scheduler", scheduler.instruments.INSTRUMENTS, _gauges_of_the_scheduler()),
        ("workers", workers.instruments.INSTRUMENTS, _gauges_of_the_workers()),
        ("gateway", gateway.instruments.INSTRUMENTS, _gauges_of_the_edge()),
        ("ledger", ledger.instruments.INSTRUMENTS, _gauges_of_the_ledger()),
        ("console", console.instruments.INSTRUMENTS, _gauges_of_the_console()),
    ]
    return "\n\n".join(
        f"### {process}\n\n" + _table(("metric", "type", "labels", "what"), [*_instruments(instruments), *gauges])
        for process, instruments, gauges in told
    )


def crash_points() -> str:
    """Every point at which a process can be made to die."""
    rows = [(point.process, f"`{point.event}`", point.moment) for point in POINTS]
    return _table(("process", "point", "what is done, and what is not"), rows)


# -- the configuration


def _section(kind: type[BaseModel], more: str) -> str:
    said = said_of(kind)
    intro = _plain(_paragraphs(kind.__doc__ or ""))
    missing = [name for name in kind.model_fields if name not in said]
    assert not missing, f"{kind.__name__}: say what these are: {', '.join(missing)}"
    rows = [
        (f"`{name}`", _form(field), _default(field), _plain(said[name])) for name, field in kind.model_fields.items()
    ]
    return f"{intro}{f' {more}' if more else ''}\n\n" + _table(("key", "form", "default", "meaning"), rows)


def _paragraphs(docstring: str) -> str:
    return " ".join(docstring.split())


def _plain(text: str) -> str:
    """Docstrings mark code by two backticks, Markdown by one; a bar would end a table's cell."""
    return text.replace("``", "`").replace("`None`", "nothing").replace("|", r"\|")


def _form(field: FieldInfo) -> str:
    return _type(field.annotation) + _bounds(field.metadata)


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(args[0]) + _bounds(args[1:])
    if origin in {Union, UnionType}:
        return " or ".join(_type(part) for part in args if part is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin is dict:
        return f"mapping to {_type(args[1])}"
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a section"
    return _SIMPLE[annotation]


_SIMPLE = {
    Path: "path",
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    SecretStr: "secret text",
    Decimal: "amount",
}


def _bounds(metadata: Iterable[Any]) -> str:
    found: list[str] = []
    for part in metadata:
        inner = part.metadata if isinstance(part, FieldInfo) else [part]
        for bound in inner:
            match bound:
                case annotated_types.Gt(gt=value):
                    found.append(f"> {value}")
                case annotated_types.Ge(ge=value):
                    found.append(f"≥ {value}")
                case annotated_types.Le(le=value):
                    found.append(f"≤ {value}")
                case _:
                    continue
    return f" ({', '.join(found)})" if found else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory_takes_validated_data:
        return "see there"
    value = field.get_default(call_default_factory=True)
    match value:
        case None | ():
            return ""
        case SecretStr():
            return ""
        case BaseModel():
            return "see below"
        case tuple():
            return "`[" + ", ".join(map(str, value)) + "]`"
        case dict() if not value:
            return ""
        case dict():
            return "; ".join(f"`{name}`: {_inside(section)}" for name, section in value.items())
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def _inside(section: BaseModel) -> str:
    told = section.model_dump(exclude_defaults=True)
    return ", ".join(f"{name} {value}" for name, value in told.items()) or "all defaults"


# -- metrics


class _Recorder:
    """Stands where a process's metrics would, and notes what it would read."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []

    def gauge(self, name: str, help: str, read: object) -> None:
        self.rows.append((f"`penstock_{name}`", "gauge", "", help))

    def family(self, name: str, help: str, label: str, read: object) -> None:
        self.rows.append((f"`penstock_{name}`", "gauge", f"`{label}`", help))


def _gauges_of_the_scheduler() -> list[tuple[str, str, str, str]]:
    recorder = _Recorder()
    scheduler.instruments.gauges(cast("Metrics", recorder), cast("Any", None))
    return recorder.rows


def _gauges_of_the_workers() -> list[tuple[str, str, str, str]]:
    class Anything:
        def __getattr__(self, _: str) -> object:
            return self

    recorder, anything = _Recorder(), cast("Any", Anything())
    workers.instruments.gauges(cast("Metrics", recorder), anything, anything, anything)
    return recorder.rows


def _gauges_of_the_edge() -> list[tuple[str, str, str, str]]:
    recorder, nothing = _Recorder(), cast("Any", None)
    gateway.instruments.gauges(cast("Metrics", recorder), nothing, nothing)
    return recorder.rows


def _gauges_of_the_ledger() -> list[tuple[str, str, str, str]]:
    recorder = _Recorder()
    ledger.instruments.gauges(cast("Metrics", recorder), cast("Any", None))
    return recorder.rows


def _gauges_of_the_console() -> list[tuple[str, str, str, str]]:
    recorder = _Recorder()
    console.instruments.gauges(cast("Metrics", recorder), *[cast("Any", None)] * 3)
    return recorder.rows


_KINDS = {"count": "counter", "measure": "histogram", "level": "gauge"}


def _instruments(instruments: Iterable[Instrument]) -> Iterator[tuple[str, str, str, str]]:
    for one in instruments:
        name = f"penstock_{one.name}" + ("_total" if one.kind == "count" else "")
        yield f"`{name}`", _KINDS[one.kind], ", ".join(f"`{label}`" for label in one.labels), one.help


# -- the command line


def commands() -> str:
    """Every command of ``penstock``, its arguments and options."""
    group = typer.main.get_command(app)
    return "\n\n".join(
        f"### `penstock {name}`\n\n{_plain(_paragraphs(command.help or ''))}\n\n"
        + _table(("option", "meaning", "default"), [_option(parameter) for parameter in command.params])
        for name, command in _leaves(cast("Any", group))
    )


def _leaves(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if getattr(command, "invoke_without_command", False):
            yield f"{above}{name}", command
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def _option(parameter: Any) -> tuple[str, str, str]:
    is_option = any(name.startswith("-") for name in parameter.opts)
    name = ", ".join(f"`{one}`" for one in parameter.opts) if is_option else f"`{parameter.name.upper()}`"
    variable = f" Also `{parameter.envvar}`." if getattr(parameter, "envvar", None) else ""
    shown = parameter.default if isinstance(parameter.default, str | int | float) else None
    default = "required" if parameter.required else "" if shown in {None, False} else f"`{shown}`"
    return name, _plain(parameter.help or "") + variable, default


# -- Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


GENERATED = re.compile(r"(<!-- generated: (?P<name>[a-z ]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)
"""Where a page wants a table: everything between the two comments is written from the code."""

TABLES = {
    "configuration": configuration,
    "failures": failures,
    "actions": lambda: words(Action),
    "benches": lambda: words(Bench),
    "scopes": lambda: words(Scope),
    "metrics": metrics,
    "commands": commands,
    "crash points": crash_points,
}


def filled(page: str) -> str:
    """The page with every table in it as the code says it. Raises KeyError for a table there is not."""
    return GENERATED.sub(lambda found: f"{found[1]}\n{TABLES[found['name']]()}\n{found[3]}", page)
