"""The declared streams, and which differences from them are dangerous."""

from __future__ import annotations

from typing import Any

import pytest

from job_contracts import subjects
from runtime.bus.manifest import DAY, StreamLimits, drifts, manifest, worker_consumer
from runtime.bus.memory_store import matches, transformed

STREAMS = {asset["config"]["name"]: asset["config"] for asset in manifest(StreamLimits()) if asset["kind"] == "stream"}
JOB = ("acme", "s1-l1")


def takers(subject: str) -> list[str]:
    """Streams that store what is published there."""
    return [name for name, config in STREAMS.items() if any(matches(one, subject) for one in config["subjects"])]


@pytest.mark.parametrize(
    ("subject", "stream"),
    [
        (subjects.submit(*JOB), "SUBMIT_0"),
        (subjects.cancel(*JOB), "CTL"),
        (subjects.blob(*JOB, 3), "BLOB"),
        (subjects.result_blob(*JOB, 3, "ab" * 32), "BLOB"),
        (subjects.work(0, "openai", *JOB), "WORK_0"),
        (subjects.lease(0), "WORK_0"),
        (subjects.result(*JOB), "RES"),
        (subjects.outcome(0, *JOB), "OUT_0"),
        (subjects.tokens(*JOB), "TOK"),
        (subjects.usage("openai", "w1"), "LEDGER"),
        (subjects.spent(0), "SPENT"),
        (subjects.order(0, "deployment", "openai/gpt-4.1 *>"), "AUDIT"),
        (subjects.note("key"), "AUDIT"),
        (subjects.barrier("AUDIT", 0), "AUDIT"),
        (subjects.dead(*JOB), "DEAD"),
        (subjects.unreadable("SUBMIT_0", 7), "DEAD"),
        (subjects.conversation(*JOB), "CONV"),
        (subjects.conversation_piece(*JOB, "ab" * 32, 3), "CONV"),
        (f"{subjects.barrier('SUBMIT', 0)}.1", "SUBMIT_0"),
        (subjects.barrier("RES", 0), "RES"),
        (subjects.barrier("OUT", 0), "OUT_0"),
        (subjects.barrier("CTL", 0), "CTL"),
        (subjects.barrier("LEDGER", 0), "LEDGER"),
    ],
)
def test_each_durable_subject_is_stored_in_one_stream(subject: str, stream: str) -> None:
    assert takers(subject) == [stream]


@pytest.mark.parametrize(
    "subject",
    [
        subjects.api("acme", "hello"),
        subjects.live_result(*JOB),
        subjects.heartbeat("openai", "w1"),
        subjects.abort("openai"),
        subjects.queued(0, *JOB),
    ],
)
def test_what_passes_by_is_stored_nowhere(subject: str) -> None:
    assert takers(subject) == []


def test_no_stream_that_a_producer_may_write_to_has_rollups_time_to_live_or_batches() -> None:
    open_to_producers = [
        config
        for config in STREAMS.values()
        if any(subject.startswith(f"{subjects.PUBLIC}.") for subject in config["subjects"])
    ]
    assert {config["name"] for config in open_to_producers} == {"SUBMIT_0", "CTL", "BLOB"}
    forbidden = ("allow_rollup_hdrs", "allow_msg_ttl", "allow_atomic", "allow_msg_schedules", "allow_msg_counter")
    assert not any(config.get(field) for config in open_to_producers for field in forbidden)


def test_every_stream_is_bounded() -> None:
    assert all(config["max_bytes"] > 0 for config in STREAMS.values())


def test_results_and_tokens_go_out_where_producers_listen() -> None:
    for name, stored, heard in (
        ("RES", subjects.result(*JOB), subjects.live_result(*JOB)),
        ("TOK", subjects.tokens(*JOB), subjects.live_job(*JOB).replace("*", "tok")),
    ):
        rule = STREAMS[name]["republish"]
        assert transformed(rule, stored) == heard


def test_a_pools_consumer_delivers_once_and_filters_its_own_work() -> None:
    asset = worker_consumer("openai", StreamLimits())
    assert asset["config"]["max_deliver"] == 1
    assert matches(asset["config"]["filter_subject"], subjects.work(0, "openai", *JOB))
    assert not matches(asset["config"]["filter_subject"], subjects.work(0, "anthropic", *JOB))


def wanted(**config: Any) -> dict[str, Any]:
    return {"name": "S", "subjects": ["a", "b"], "discard": "old", **config}


def test_fields_that_are_not_declared_are_none_of_our_business() -> None:
    there = {**wanted(), "metadata": {"x": "y"}, "max_consumers": -1}
    assert drifts(wanted(), there) == []


def test_order_and_absence_are_no_difference() -> None:
    there = {**wanted(), "subjects": ["b", "a"]}
    assert (
        drifts(
            wanted(allow_direct=False, republish={"src": "a", "dest": "b"}),
            {
                **there,
                "republish": {"src": "a", "dest": "b", "headers_only": False},
            },
        )
        == []
    )


@pytest.mark.parametrize(
    ("change", "there", "dangerous"),
    [
        ({"max_msgs": 20}, {"max_msgs": 10}, False),
        ({"max_msgs": 10}, {"max_msgs": 20}, True),
        ({"max_msgs": 10}, {"max_msgs": -1}, True),
        ({"max_msgs": 10, "discard": "new"}, {"max_msgs": 20, "discard": "new"}, False),
        ({"max_age": DAY}, {"max_age": 0}, True),
        ({"max_age": 2 * DAY}, {"max_age": DAY}, False),
        ({"max_age": DAY, "discard": "new"}, {"max_age": 2 * DAY, "discard": "new"}, True),
        ({"max_msgs_per_subject": 1}, {"max_msgs_per_subject": -1}, True),
        ({"subjects": ["a"]}, {"subjects": ["a", "b"]}, True),
        ({"subjects": ["a", "b", "c"]}, {"subjects": ["a", "b"]}, False),
        ({"discard": "old"}, {"discard": "new"}, True),
        ({"discard": "new"}, {"discard": "old"}, False),
        ({"storage": "file"}, {"storage": "memory"}, True),
        ({"retention": "limits"}, {"retention": "workqueue"}, True),
        ({"num_replicas": 3}, {"num_replicas": 1}, True),
    ],
)
def test_a_difference_is_dangerous_when_it_could_destroy_messages(
    change: dict[str, Any], there: dict[str, Any], dangerous: bool
) -> None:
    found = drifts(wanted(**change), {**wanted(), **there})
    (one,) = [drift for drift in found if drift.field in change]
    assert bool(one.danger) is dangerous
    assert str(one).startswith(f"{one.field} is ")
