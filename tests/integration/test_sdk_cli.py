"""The command ``penstock`` as a process of its own, against a real broker; one of each group is started anew."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
import json
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from job_contracts.desk import Estimate, Planned
from job_contracts.embeddings import unpacked
from job_contracts.jobs import JobState
from producer_sdk.testing import fails, says
from producer_sdk.testing.script import vector_of
from tests.support.commands import ROOT, anew, ended, penstock
from tests.support.eventually import eventually
from tests.support.houses import NatsHouse
from tests.support.sdk import over_nats, sdk_broker  # noqa: F401  # fixtures


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *objects: Any) -> Path:
    path.write_text("".join(f"{o if isinstance(o, str) else json.dumps(o)}\n" for o in objects))
    return path


# -- one job


async def test_submit_prints_the_id_and_with_wait_the_answer(over_nats: NatsHouse) -> None:
    over_nats.stage.held = True
    plain = await penstock(over_nats, "submit", "-m", "fast", "Hello", "--tag", "team=a", "--deadline", "10m")
    await eventually(lambda: over_nats.stage.received, says="what the broker has is read a moment later")
    assert (plain.code, plain.out.strip()) == (0, over_nats.stage.received[0].job.id)
    assert over_nats.stage.received[0].job.tags == {"team": "a"}
    over_nats.stage.release()
    waited = await ended(await anew(over_nats, "submit", "-m", "fast", "--wait", "--json", "-"), "From a pipe")
    assert (waited.code, waited.json["text"], waited.json["state"]) == (0, "From a pipe", "succeeded")


async def test_embed_prints_a_vector_a_line_and_says_the_rest_to_people(over_nats: NatsHouse) -> None:
    given = "a river\n\nein Fluß\n"
    done = await penstock(over_nats, "embed", "-m", "fast", "--dimensions", "4", "--batch-size", "1", given=given)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert rows == [
        {"index": 0, "embedding": list(vector_of("a river", 4))},
        {"index": 1, "embedding": list(vector_of("ein Fluß", 4))},
    ]
    assert "2 vectors of 4 numbers by fake-1" in done.err
    assert "2 jobs" in done.err
    packed = await penstock(over_nats, "embed", "-m", "fast", "--base64", "--purpose", "query", "one", "two")
    assert [len(unpacked(json.loads(line)["embedding"])) for line in packed.out.splitlines()] == [8, 8]
    shown = await penstock(over_nats, "jobs", "show", "--json", over_nats.stage.received[-1].job.id)
    assert (shown.json["vectors"], shown.json["dimensions"]) == (2, 8)
    wrong = await penstock(over_nats, "embed", "-m", "fast", "--purpose", "fun", "--json", "one")
    assert (wrong.code, wrong.json["error"]["field"]) == (2, "purpose")


async def test_stream_prints_the_text_alone_on_stdout(over_nats: NatsHouse) -> None:
    over_nats.stage.script.append(says("one two three", pace=0.01))
    done = await penstock(over_nats, "stream", "-m", "fast", "Hello", "--system", "Be brief.")
    assert (done.code, done.out) == (0, "one two three\n")
    assert "fake/fake-1 answers" in done.err
    assert over_nats.stage.received[0].ticket.lane == "rt"


async def test_stream_as_json_prints_every_event(over_nats: NatsHouse) -> None:
    over_nats.stage.script.append(says("one two", pace=0.01))
    done = await penstock(over_nats, "stream", "-m", "fast", "Hello", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["type"] for event in events] == ["queued", "started", "token", "token", "usage", "finished"]


async def test_jobs_show_and_cancel(over_nats: NatsHouse) -> None:
    over_nats.stage.held = True
    job = (await penstock(over_nats, "submit", "-m", "fast", "Hello")).out.strip()
    await eventually(lambda: over_nats.stage.received, says="what the broker has is read a moment later")
    shown = await ended(await anew(over_nats, "jobs", "show", job, "--json"))
    assert (shown.code, shown.json["state"], shown.json["position"]) == (0, "held", 0)
    assert "token" not in shown.json
    assert (await penstock(over_nats, "jobs", "cancel", job, "--reason", "not needed")).code == 0
    await eventually(lambda: over_nats.stage.received[0].state is JobState.CANCELLED)
    after = await penstock(over_nats, "jobs", "show", job, "--json")
    assert (after.json["state"], after.json["error"]["code"]) == ("cancelled", "cancelled")


# -- dead letters


async def given_up(house: NatsHouse, *kinds: str) -> list[str]:
    """Ids of jobs that were set aside."""
    for kind in kinds:
        house.stage.script.append(fails(kind, "no luck"))
        assert (await penstock(house, "submit", "-m", "fast", "Hello", "--wait")).code == 1
    return [received.job.id for received in house.stage.received[-len(kinds) :]]


async def test_dead_letters_are_listed_by_cause_and_one_by_one(over_nats: NatsHouse) -> None:
    jobs = await given_up(over_nats, "auth", "server_error", "auth")
    causes = await ended(await anew(over_nats, "dead", "list"))
    assert (causes.code, causes.err.strip()) == (0, "3 open letters")
    rows = [line.split("\t") for line in causes.out.splitlines()]
    assert [(row[1], row[3], row[5]) for row in rows] == [("2", "auth", "no luck"), ("1", "server_error", "no luck")]
    group = await penstock(over_nats, "dead", "list", "--fingerprint", rows[0][0], "--json")
    told = [json.loads(line) for line in group.out.splitlines()]
    assert [one["job"] for one in told] == [jobs[0], jobs[2]]
    shown = await penstock(over_nats, "dead", "show", jobs[1])
    assert {f"job: {jobs[1]}", "state: open", "route: fast"} <= set(shown.out.splitlines())
    body = await penstock(over_nats, "dead", "show", jobs[1], "--body")
    assert body.json["conversation"]["messages"] == [{"role": "user", "content": "Hello"}]
    assert (await penstock(over_nats, "dead", "show", "no-such")).code == 3


async def test_a_dead_letter_is_replayed_and_its_new_job_printed(over_nats: NatsHouse) -> None:
    (job,) = await given_up(over_nats, "auth")
    assert (await penstock(over_nats, "dead", "replay", job, "--route", "nowhere")).code == 4
    over_nats.stage.script.append(says("better"))
    done = await penstock(over_nats, "dead", "replay", job, "--route", "smart")
    old, new = done.out.strip().split("\t")
    assert (done.code, old) == (0, job)
    answer = await penstock(over_nats, "jobs", "show", new, "--json")
    assert (answer.json["route"], answer.json["text"], answer.json["replay_of"]) == ("smart", "better", job)
    shown = await penstock(over_nats, "dead", "show", job, "--json")
    assert (shown.json["state"], shown.json["replay"]["job"]) == ("replayed", new)


async def test_many_are_acted_on_after_a_yes_and_their_number_is_printed(over_nats: NatsHouse) -> None:
    await given_up(over_nats, "auth", "server_error", "auth")
    neither = await penstock(over_nats, "dead", "replay")
    assert (neither.code, "--all" in neither.err) == (2, True)
    unasked = await penstock(over_nats, "dead", "discard", "--all")
    assert (unasked.code, unasked.out) == (2, "")
    assert "discard 3 open letters?" in unasked.err
    cause = (await penstock(over_nats, "dead", "list")).out.split("\t")[0]
    over_nats.stage.otherwise = lambda _: says("better")
    replayed = await penstock(over_nats, "dead", "replay", "--fingerprint", cause, "--yes")
    assert (replayed.code, replayed.out) == (0, "2\n")
    assert "replayed  2" in replayed.err
    discarded = await penstock(over_nats, "dead", "discard", "--all", "--yes", "--reason", "obsolete", "--json")
    assert (discarded.code, discarded.json["done"]) == (0, 1)
    assert (await penstock(over_nats, "dead", "list")).out == ""
    failing = await given_up(over_nats, "auth")
    failed = await penstock(over_nats, "dead", "replay", "--all", "--yes", "--route", "nowhere", "--json")
    assert (failed.code, failed.json["failures"][0]["job"]) == (1, failing[0])


# -- exit codes


async def test_a_failed_job_exits_1(over_nats: NatsHouse) -> None:
    over_nats.stage.script.append(fails("content_policy", "not this"))
    done = await penstock(over_nats, "submit", "-m", "fast", "Hello", "--wait")
    assert (done.code, done.out) == (1, "")
    assert "not this" in done.err


async def test_a_wrong_request_exits_2(over_nats: NatsHouse) -> None:
    for words in (
        ("--deadline", "soon"),
        ("--lane", "express"),
        ("--tag", "x"),
        ("--temperature", "9"),
        ("--nonsense",),
    ):
        done = await penstock(over_nats, "submit", "-m", "fast", "Hello", *words)
        assert done.code == 2, words
    assert over_nats.stage.received == []


async def test_an_unknown_job_exits_3(over_nats: NatsHouse) -> None:
    done = await penstock(over_nats, "jobs", "show", "nobody-knows", "--json")
    assert (done.code, done.json["error"]["code"]) == (3, "not_found")


async def test_a_refusal_exits_4(over_nats: NatsHouse) -> None:
    route = await penstock(over_nats, "submit", "-m", "fats", "Hello", "--json")
    assert (route.code, route.json["error"]["field"]) == (4, "model")
    assert "did you mean 'fast'" in route.err
    wrong = await penstock(over_nats, "submit", "-m", "fast", "Hello", secret="psk_research_wrong")
    assert wrong.code == 4
    assert "wrong" not in wrong.err


async def test_no_gateway_exits_5(over_nats: NatsHouse) -> None:
    over_nats.disconnect()
    done = await penstock(over_nats, "submit", "-m", "fast", "Hello")
    assert done.code == 5
    assert "no connection" in done.err
    over_nats.reconnect()


# -- run


async def test_run_answers_every_line_once_whatever_is_wrong_with_it(
    over_nats: NatsHouse,
    tmp_path: Path,
) -> None:
    over_nats.stage.otherwise = lambda job: fails("content_policy") if "bad" in str(job.chat.messages) else says("fine")
    source = write(
        tmp_path / "in.jsonl",
        {"model": "fast", "messages": [{"role": "user", "content": "one"}]},
        "this is not JSON",
        {"custom_id": "named", "messages": [{"role": "user", "content": "two"}]},
        "",
        {"custom_id": "broken", "model": "fast", "messages": [{"role": "usr", "content": "x"}]},
        {"custom_id": "declined", "model": "fast", "messages": "bad"},
        {"custom_id": "elsewhere", "model": "nope", "messages": "x"},
        {
            "custom_id": "batch",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "fast", "messages": [{"role": "user", "content": "three"}], "max_tokens": 5, "user": "u"},
        },
    )
    out = tmp_path / "out.jsonl"
    done = await penstock(over_nats, "run", str(source), "--out", str(out), "-m", "smart", "--json")
    assert done.code == 1, done.err
    answers = {line["custom_id"]: line for line in lines(out)}
    assert len(lines(out)) == len(answers) == 7
    assert answers["line-1"]["text"] == answers["named"]["text"] == "fine"
    assert answers["line-2"]["error"]["message"].startswith("not JSON")
    assert answers["broken"]["error"]["field"] == "messages[0].role"
    assert answers["declined"]["error"]["code"] == "content_policy"
    assert answers["elsewhere"]["error"]["code"] == "unknown_route"
    body = answers["batch"]["response"]["body"]
    assert (body["object"], body["choices"][0]["message"]["content"]) == ("chat.completion", "fine")
    assert (done.json["lines"], done.json["succeeded"], done.json["failed"]) == (7, 3, 4)
    by_route = {received.job.route for received in over_nats.stage.received}
    assert by_route == {"fast", "smart"}
    assert [received.job.tags for received in over_nats.stage.received if received.job.tags] == [{"user": "u"}]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_run_goes_on_and_nothing_runs_twice(
    over_nats: NatsHouse,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    over_nats.stage.otherwise = lambda job: says(f"answer to {job.chat.messages[0].content}", delay=0.05)
    source = write(tmp_path / "in.jsonl", *[{"model": "fast", "messages": f"{n}"} for n in range(60)])
    out = tmp_path / "out.jsonl"
    words = ("run", str(source), "--out", str(out), "--concurrency", "4")
    first = await anew(over_nats, *words)
    await eventually(lambda: out.exists() and len(out.read_bytes().splitlines()) >= 8, within=20)
    over_nats.stage.held = True  # it cannot come to its end before the signal comes
    first.send_signal(how)
    stopped = await ended(first)
    over_nats.stage.release()
    assert stopped.code == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    if how is not signal.SIGKILL:
        assert "goes on" in stopped.err
    before = len(lines(out))
    assert 8 <= before < 60
    with out.open("ab") as file:
        file.write(b'{"custom_id":"line-59","li')  # as a kill in the middle of a write leaves it
    second = await penstock(over_nats, *words, "--json")
    assert (second.code, second.json["done"], second.json["before"]) == (0, 60, before)
    answers = lines(out)
    assert sorted(line["line"] for line in answers) == list(range(1, 61))
    assert all(line["text"] == f"answer to {line['line'] - 1}" for line in answers)
    assert len(over_nats.stage.received) == len({received.job.id for received in over_nats.stage.received}) == 60
    assert all(received.cancelled is None for received in over_nats.stage.received)
    third = await penstock(over_nats, *words, "--json")
    assert (third.code, third.json["succeeded"], len(lines(out))) == (0, 0, 60)


async def test_a_run_stops_without_a_gateway_and_can_be_taken_up(over_nats: NatsHouse, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *[{"model": "fast", "messages": f"{n}"} for n in range(5)])
    out = tmp_path / "out.jsonl"
    over_nats.disconnect()
    first = await penstock(over_nats, "run", str(source), "--out", str(out))
    assert (first.code, lines(out) if out.exists() else []) == (5, [])
    over_nats.reconnect()
    second = await penstock(over_nats, "run", str(source), "--out", str(out))
    assert (second.code, len(lines(out))) == (0, 5)


async def test_a_file_with_an_id_twice_is_refused_before_anything_runs(over_nats: NatsHouse, tmp_path: Path) -> None:
    twice = {"custom_id": "a", "model": "fast", "messages": "x"}
    done = await penstock(
        over_nats, "run", str(write(tmp_path / "in.jsonl", twice, twice)), "--out", str(tmp_path / "out.jsonl")
    )
    assert done.code == 2
    assert "lines 1 and 2" in done.err
    assert over_nats.stage.received == []


async def test_a_file_that_is_no_output_is_not_touched(over_nats: NatsHouse, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", {"model": "fast", "messages": "x"})
    precious = tmp_path / "notes.txt"
    precious.write_text("do not\nlose this\n")
    done = await penstock(over_nats, "run", str(source), "--out", str(precious))
    assert (done.code, precious.read_text()) == (2, "do not\nlose this\n")
    missing = await penstock(over_nats, "run", str(tmp_path / "missing.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    assert missing.code == 2


async def test_without_its_extra_the_command_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['typer'] = None; from producer_sdk.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode() == "penstock: the command needs typer and rich: pip install 'penstock[cli]'\n"


# -- what a run costs


def priced(planned: Planned) -> Estimate:
    worst = Decimal("0.002") * (planned.max_output or 0)
    return Estimate(deployment="fake/fake-1", expected=worst / 4, worst=worst) if worst else Estimate()


async def test_run_estimate_tells_what_the_lines_that_are_left_would_cost_and_sends_nothing(
    over_nats: NatsHouse, tmp_path: Path
) -> None:
    over_nats.stage.price = priced
    requests = [
        *({"model": "fast", "messages": f"{number}", "max_tokens": 5} for number in range(501)),
        {"model": "fast", "messages": "of no price"},
        {"model": "nowhere", "messages": "x"},
        {"model": "fast", "messages": "x", "max_tokens": -1},
    ]
    file, out = write(tmp_path / "in.jsonl", *requests), tmp_path / "out.jsonl"
    write(out, {"custom_id": "line-1", "error": None})
    done = await penstock(over_nats, "run", str(file), "--estimate", "--out", str(out), "--json")
    assert done.code == 0, done.err
    told = done.json
    assert (told["lines"], told["unpriced"], told["before"]) == (501, 1, 1)
    assert (Decimal(told["worst"]), Decimal(told["expected"])) == (Decimal(5), Decimal("1.25"))
    assert told["refused"] == {"unknown_route": 1, "invalid_request": 1}
    assert told["models"]["fast"]["lines"] == 501
    shown = await penstock(over_nats, "run", str(file), "--estimate")
    assert (shown.code, shown.out) == (0, "")
    assert "5.010000" in shown.err
    assert "1 lines would be refused: unknown_route" in shown.err
    assert over_nats.stage.received == []
    assert len(lines(out)) == 1


async def test_run_with_max_spend_leaves_lines_for_the_next_run(over_nats: NatsHouse, tmp_path: Path) -> None:
    over_nats.stage.price = priced
    over_nats.stage.otherwise = lambda _: says("x", cost=Decimal("0.01"))
    requests = [{"model": "fast", "messages": f"{number}", "max_tokens": 5} for number in range(4)]
    file, out = write(tmp_path / "in.jsonl", *requests), tmp_path / "out.jsonl"
    words = ("run", str(file), "--out", str(out), "--json", "--max-spend", "0.02")
    first = await penstock(over_nats, *words)
    assert (first.code, first.json["succeeded"], first.json["left_out"]) == (1, 2, 2)
    assert "2 lines left out: max_cost" in first.err
    second = await penstock(over_nats, *words)
    assert (second.code, second.json["before"], second.json["succeeded"]) == (0, 2, 2), second.err
    assert len(lines(out)) == len(over_nats.stage.received) == 4


async def test_run_says_where_the_answers_are_to_go(over_nats: NatsHouse, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", {"model": "fast", "messages": "x"})
    done = await penstock(over_nats, "run", str(file), "--json")
    assert (done.code, done.json["error"]["field"]) == (2, "out")
