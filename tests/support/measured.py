"""Every metric there is, as the reference page tells it, and the metrics that rules and dashboards name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support import tables

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))

_ROW = re.compile(r"^\| `(?P<name>penstock_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \|", re.MULTILINE)
_SELECTOR = re.compile(r"\b(?P<name>(?:penstock|process)_\w+|up|ALERTS)(?:\{(?P<matchers>[^}]*)\})?")
_OF_ALL = {
    "process_cpu_seconds_total": set[str](),
    "process_resident_memory_bytes": set[str](),
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate"},
}
"""What Prometheus itself and every process tell."""
SCRAPED = {"job", "instance", "service"}
"""Labels that the scrape adds."""


def metrics() -> dict[str, set[str]]:
    """The labels of every series there can be, by its name."""
    found = dict(_OF_ALL)
    for row in _ROW.finditer(tables.metrics()):
        name, labels = row["name"], set(re.findall(r"`(\w+)`", row["labels"]))
        if row["kind"] == "histogram":
            found |= {f"{name}_bucket": {*labels, "le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = found.get(name, labels) | labels
    return found


def named(text: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics in an expression or a page, and the labels they are chosen by."""
    for selector in _SELECTOR.finditer(re.sub(r'"[^"]*"', '""', text)):
        yield selector["name"], set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", selector["matchers"] or ""))


def rules() -> list[dict[str, Any]]:
    """Every rule of the file."""
    loaded = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and it."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            yield from ((f"{board['title']}: {panel['title']}", target["expr"]) for target in panel["targets"])
        yield from ((f"{board['title']}: {one['name']}", one["expr"]) for one in board["annotations"]["list"])
