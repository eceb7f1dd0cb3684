"""Rules and dashboards name what there is, every alert has a test and a page, and Prometheus takes the files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.measured import DASHBOARDS, ROOT, SCRAPED, expressions, metrics, named, rules
from tests.support.needed import missing
from tests.support.pages import links

PROMETHEUS = ROOT / "deploy" / "prometheus"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    if found is None:
        missing("promtool, which tests the rules, is", "prometheus")
    return subprocess.run([found, *map(str, words)], cwd=PROMETHEUS, capture_output=True, text=True, check=False)


def test_every_metric_that_a_rule_or_a_panel_names_exists_with_its_labels() -> None:
    there = metrics()
    wrong = [
        f"{place}: {name}{sorted(labels) or ''}"
        for place, expression in expressions()
        for name, labels in named(expression)
        if name not in there or labels - there[name] - SCRAPED
    ]
    assert wrong == []


def test_every_label_that_is_summed_by_belongs_to_a_metric_of_its_expression() -> None:
    there, wrong = metrics(), []
    for place, expression in expressions():
        labels = {label for name, _ in named(expression) for label in there[name]} | SCRAPED
        if set(re.findall(r"penstock:\w+:\w+", expression)):
            labels |= {"provider", "model"}
        for by in re.findall(r"\b(?:by|on) \(?([^)]*)\)", expression):
            wrong += [f"{place}: {label}" for label in re.findall(r"\w+", by) if label not in labels]
    assert wrong == []


def test_every_recorded_series_that_is_named_is_recorded() -> None:
    used = {name for _, expression in expressions() for name in re.findall(r"penstock:\w+:\w+", expression)}
    assert used == RECORDED


def test_every_alert_has_a_page_that_the_operators_page_links_to() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)
    assert {rule["annotations"]["runbook"] for rule in ALERTS.values()} == {
        f"docs/runbooks/{name}.md" for name in ALERTS
    }
    linked = {Path(target).stem for target in links(ROOT / "docs/how-to/operate.md") if "runbooks/" in target}
    assert linked == set(ALERTS)


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_says_what_to_look_at_and_what_to_do_and_names_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    there = metrics()
    assert text.startswith(f"# {page.stem}\n")
    assert "\n## Look\n" in text
    assert "\n## Do\n" in text
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in there} | set(there)
    assert [name for name, _ in named(text) if name.startswith("penstock") and name not in families] == []
    assert [name for name in re.findall(r"`(Penstock\w+)`", text) if name not in ALERTS] == []


def test_every_alert_says_how_urgent_it_is_and_in_one_sentence_what_is_wrong() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert rule["annotations"]["summary"], name


def test_every_alert_is_tested_to_fire_and_to_be_quiet() -> None:
    tested = {
        (one["alertname"], bool(one["exp_alerts"]))
        for path in TESTS
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for one in test["alert_rule_test"]
    }
    assert tested == {(name, fires) for name in ALERTS for fires in (True, False)}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_on_made_up_series_what_their_tests_say(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    done = promtool("check", "config", "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_scraped_is_every_service_of_compose_that_measures() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    measuring = {name for name, one in compose["services"].items() if "--health-port" in one.get("command", ())}
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    assert set(job["dns_sd_configs"][0]["names"]) == measuring


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_the_provisioned_source_and_nothing_of_the_internet(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    board = json.loads(text)
    source = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/datasources/penstock.yaml").read_text(encoding="utf-8")
    )
    assert board["uid"] == path.stem
    assert "://" not in text
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        assert panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == source["datasources"][0]["uid"]


def test_every_panel_s_question_is_one_that_prometheus_understands(tmp_path: Path) -> None:
    asked = {expression.replace("$__rate_interval", "1m") for _, expression in expressions()}
    recorded = [{"record": "test:asked", "labels": {"n": str(n)}, "expr": one} for n, one in enumerate(sorted(asked))]
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": recorded}]}))
    done = promtool("check", "rules", tmp_path / "asked.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
