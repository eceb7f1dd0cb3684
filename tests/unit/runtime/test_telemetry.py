"""Events and who listens to them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.telemetry import DEBUG, ERROR, INFO, Event, Metrics, Telemetry, count, level, measure, write_logs
from tests.support.clock import ManualClock


def exposed(metrics: Metrics) -> str:
    return metrics.exposition()[1].decode()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def lines(telemetry: Telemetry) -> Iterator[list[dict[str, Any]]]:
    written: list[dict[str, Any]] = []
    undo = write_logs(telemetry, "test", lambda text: written.append(json.loads(text)), clock=ManualClock(wall=5.0))
    yield written
    undo()


def test_an_event_that_nobody_listens_to_goes_nowhere(telemetry: Telemetry) -> None:
    telemetry.emit("a.b", ERROR, x=1)


def test_a_subscriber_hears_events_of_its_level_and_above(telemetry: Telemetry) -> None:
    heard: list[Event] = []
    telemetry.subscribe(heard.append, lowest=INFO)
    telemetry.emit("quiet", x=1)
    telemetry.emit("loud", INFO, x=2)
    assert heard == [Event("loud", INFO, {"x": 2})]


def test_who_stops_listening_hears_no_more(telemetry: Telemetry) -> None:
    heard: list[object] = []
    stops = [telemetry.subscribe(heard.append), telemetry.on("a", heard.append), telemetry.on("a", heard.append)]
    for stop in stops:
        stop()
        stop()
    telemetry.emit("a", ERROR)
    assert heard == []


def test_a_listener_that_raises_is_dropped_and_reported_and_the_others_go_on(telemetry: Telemetry) -> None:
    heard: list[Event] = []

    def broken(_: object) -> None:
        raise KeyError("x")

    telemetry.on("a", broken)
    telemetry.subscribe(broken)
    telemetry.subscribe(heard.append)
    telemetry.emit("a")
    telemetry.emit("a")
    failed = Event("telemetry.listener_failed", ERROR, {"event": "a", "error": "KeyError"})
    assert [event for event in heard if event.name != "a"].count(failed) >= 1
    assert [event.name for event in heard].count("a") == 2


def test_a_counter_counts_events_by_their_labels(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    metrics.listen(telemetry, [count("calls", "called", "Calls", "to")])
    for to in ("a", "b", "a"):
        telemetry.emit("called", to=to, job="never-a-label")
    assert 'penstock_calls_total{to="a"} 2.0' in exposed(metrics)
    assert "never-a-label" not in exposed(metrics)


def test_a_counter_may_sum_a_field(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    metrics.listen(telemetry, [count("tokens", "used", "Tokens", value="n")])
    telemetry.emit("used", n=5)
    telemetry.emit("used", n=7)
    assert "penstock_tokens_total 12.0" in exposed(metrics)


def test_a_histogram_passes_over_events_without_the_value(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    metrics.listen(telemetry, [measure("wait_seconds", "done", "Wait", value="wait")])
    telemetry.emit("done", wait=None)
    telemetry.emit("done", wait=0.015)
    assert "penstock_wait_seconds_count 1.0" in exposed(metrics)
    assert 'penstock_wait_seconds_bucket{le="0.02"} 1.0' in exposed(metrics)


def test_a_gauge_holds_the_last_value(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    metrics.listen(telemetry, [level("depth", "looked", "Depth", "lane", value="n")])
    telemetry.emit("looked", lane="rt", n=4)
    telemetry.emit("looked", lane="rt", n=2)
    assert 'penstock_depth{lane="rt"} 2.0' in exposed(metrics)


def test_a_gauge_may_be_read_when_it_is_scraped() -> None:
    metrics, depth = Metrics("test"), [3.0]
    metrics.gauge("slots_free", "Slots", lambda: depth[0])
    depth[0] = 8.0
    assert "penstock_slots_free 8.0" in exposed(metrics)


def test_a_gauge_that_is_read_shows_nothing_of_what_there_is_no_longer() -> None:
    metrics, now = Metrics("test"), {"a": 1.0, "b": 2.0}
    metrics.family("height", "How high", "of", lambda: now)
    assert 'penstock_height{of="b"} 2.0' in exposed(metrics)
    del now["b"]
    assert 'penstock_height{of="a"} 1.0' in exposed(metrics)
    assert 'of="b"' not in exposed(metrics)


def test_levels_are_forgotten_when_they_are_no_longer_ours_and_counts_are_not(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    instruments = [
        *(count("looks", "looked", "Looks", "lane"), level("depth", "looked", "Depth", "lane", value="n")),
        level("held", "holding", "Held", value="n"),
    ]
    metrics.listen(telemetry, instruments)
    metrics.forget_levels(telemetry, "ended")
    telemetry.emit("looked", lane="rt", n=4)
    telemetry.emit("holding", n=1)
    telemetry.emit("ended")
    assert "penstock_depth{" not in exposed(metrics)
    assert "penstock_held 0.0" in exposed(metrics)
    telemetry.emit("looked", lane="rt", n=2)
    assert 'penstock_depth{lane="rt"} 2.0' in exposed(metrics)
    assert 'penstock_looks_total{lane="rt"} 2.0' in exposed(metrics)


def test_every_process_tells_its_version() -> None:
    assert "penstock_build_info{version=" in exposed(Metrics("test"))


def test_ten_thousand_made_up_names_make_a_bounded_number_of_series(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    metrics.listen(telemetry, [count("calls", "called", "Calls", "to", series=50)])
    for number in range(10_000):
        telemetry.emit("called", to=f"name-{number}")
    series = [line for line in exposed(metrics).splitlines() if line.startswith("penstock_calls_total{")]
    assert len(series) <= 51
    assert 'penstock_calls_total{to="other"} 9950.0' in series


def test_no_created_series_are_exposed(telemetry: Telemetry) -> None:
    metrics = Metrics("test")
    metrics.listen(telemetry, [count("calls", "called", "Calls")])
    assert "_created" not in exposed(metrics)


def test_open_metrics_are_given_to_who_asks_for_them() -> None:
    content_type, body = Metrics("test").exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_a_log_line_is_one_json_object(telemetry: Telemetry, lines: list[dict[str, Any]]) -> None:
    telemetry.emit("pool.started", INFO, pool="a", slots=4)
    telemetry.emit("attempt.ended", DEBUG, pool="a")
    assert lines == [{"at": 5.0, "level": "info", "process": "test", "event": "pool.started", "pool": "a", "slots": 4}]


def test_what_a_library_logs_comes_without_its_arguments(
    telemetry: Telemetry, lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise ValueError("sk-secret in the message")
    except ValueError:
        logging.getLogger("some.library").exception("lost %s", "https://host/?key=sk-secret")
    (line,) = lines
    assert line["event"] == "library.logged"
    assert (line["logger"], line["template"], line["error"]) == ("some.library", "lost %s", "ValueError")
    assert "sk-secret" not in json.dumps(line)
