"""``/v1/spend`` and ``penstock spend``, against an edge and a ledger that hold known attempts."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import re
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalogue.load import providers
from console.asking import Declined, Ledger
from console.assembly import assemble
from job_contracts import subjects
from job_contracts.money import dollars
from job_contracts.spend import AskAttempts
from runtime.bus.port import Message
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.gateway import gateway
from tests.support.injections import INJECTIONS
from tests.support.ledger_desk import ledger_desk
from tests.support.ledger_rows import Told, put
from tests.support.stand_in import OTHER, PROJECT, key

ROOT = Path(__file__).parents[3]
VALUES: dict[str, Any] = {
    "providers": {"openai": {"key": "sk-one", "base_url": "http://127.0.0.1:9/v1"}},
    "routes": {
        "chat": {
            "deployments": ["openai/gpt-4o-mini", "openai/gpt-4o"],
            "budget": {"total": 5},
            "verify": {"by": "premium", "budget": {"day": 1}},
        },
        "premium": {"deployments": ["openai/gpt-4o"]},
    },
    "projects": {PROJECT: {"budget": {"month": 10}, "tags": {"team=red": {"day": 1}}}, OTHER: {}},
}
AS_ADMIN = {"authorization": f"Bearer {ADMIN}"}
NOW = time.time()
ATTEMPTS = [
    Told(at=NOW - 100, project=PROJECT, input=1_000_000, output=0, cost=150 * 10**9, tags={"team": "red"}),
    Told(at=NOW - 90, project=PROJECT, reason="failed", failure="timeout", won=False, cost=1, tags={"team": "=1+1"}),
    Told(at=NOW - 80, project=OTHER, model="gpt-4o", cost=2, experiment="exp", arm="b"),
    Told(at=NOW - 70, project=OTHER, model="gpt-4o", cost=None),
]


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with gateway(tmp_path, VALUES, providers()) as whole, edge(whole) as one:
        yield one


@pytest.fixture
async def running(alone: RunningEdge, tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with ledger_desk(alone.bus, alone.config, tmp_path) as engine:
        await put(engine, ATTEMPTS, read=NOW)
        yield alone


async def test_without_a_ledger_the_answer_says_so_and_what_to_do(alone: RunningEdge) -> None:
    for path in ("", "/attempts", "/compare", "/drafts", "/forecast"):
        found = await alone.client.get(f"/v1/spend{path}")
        assert (found.status_code, found.json()["error"]["code"]) == (503, "ledger_unreachable")
        assert "python -m ledger" in found.json()["error"]["message"]
        assert "retry-after" in found.headers


async def test_the_admin_sees_every_project_and_a_projects_key_its_own(running: RunningEdge) -> None:
    everybody = (await running.client.get("/v1/spend?by=project", headers=AS_ADMIN)).json()
    assert {row["project"]: (row["attempts"], row["cost"]) for row in everybody["rows"]} == {
        PROJECT: (2, "0.150000000001"),
        OTHER: (2, "0.000000000002"),
    }
    assert everybody["total"]["unpriced"] == 1
    own = (await running.client.get("/v1/spend?by=project")).json()
    assert [row["project"] for row in own["rows"]] == [PROJECT]
    for path in ("", "/attempts", "/compare", "/drafts", "/forecast"):
        refused = await running.client.get(f"/v1/spend{path}?project={OTHER}")
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "project")
    attempts = (await running.client.get("/v1/spend/attempts")).json()["rows"]
    assert {row["project"] for row in attempts} == {PROJECT}


async def test_attempts_of_an_arm_are_asked_for_and_told_with_it(running: RunningEdge) -> None:
    path = "/v1/spend/attempts?experiment=exp&arm=b"
    found = (await running.client.get(path, headers=AS_ADMIN)).json()["rows"]
    assert [(row["project"], row["experiment"], row["arm"]) for row in found] == [(OTHER, "exp", "b")]
    sheet = (await running.client.get(f"{path}&format=csv", headers=AS_ADMIN)).text
    assert [(row["experiment"], row["arm"]) for row in csv.DictReader(io.StringIO(sheet))] == [("exp", "b")]
    assert (await running.client.get(path)).json()["rows"] == [], "a project's key sees its own"
    refused = await running.client.get("/v1/spend/attempts?arm=b")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "experiment")


async def test_an_older_ledger_that_passes_over_the_arm_is_named_and_its_rows_are_not_told(alone: RunningEdge) -> None:
    row = {
        **dict.fromkeys(("attempt", "project", "key", "route", "deployment", "provider", "model", "told_by"), "x"),
        **dict.fromkeys(("input", "cache_read", "cache_write", "output", "reasoning", "at", "seconds"), 1),
        **dict.fromkeys(("won", "reported", "stated"), True),
        "reason": "user",
    }

    async def answering(_: Message) -> bytes:
        return json.dumps({"version": "1.2", "rows": [row]}).encode()

    responder = await alone.bus.respond(subjects.ledger_desk("attempts"), answering)
    refused = await alone.client.get("/v1/spend/attempts?experiment=exp&arm=b", headers=AS_ADMIN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
    assert "bring the ledger to the gateway's version" in refused.json()["error"]["message"]
    assert len((await alone.client.get("/v1/spend/attempts", headers=AS_ADMIN)).json()["rows"]) == 1
    with pytest.raises(Declined, match="the ledger is older"):
        await Ledger(alone.bus).attempts(AskAttempts(experiment="exp"))
    await responder.close()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sinse=7d", "'sinse' is no parameter here; use "),
        ("reason=faild", "reason: there is none that is 'faild'; write one of: user, "),
        ("by=tag", "tag: name the tag that is meant; write tag=NAME"),
        ("since=2026-11-02&until=2026-11-01", "until: it is before since; write a later until"),
    ],
)
async def test_a_slip_in_a_question_is_named_and_does_not_tell_of_everything(
    running: RunningEdge, query: str, names: str
) -> None:
    found = await running.client.get(f"/v1/spend?{query}")
    assert found.status_code == 400
    assert found.json()["error"]["message"].startswith(names)


async def test_every_number_leads_to_its_attempts(running: RunningEdge) -> None:
    found = (await running.client.get("/v1/spend?tag=team&since=1d")).json()
    assert {row["tag"]: row["attempts"] for row in found["rows"]} == {"=1+1": 1, "red": 1}
    behind = (await running.client.get("/v1/spend/attempts?tag=team=red&since=1d")).json()["rows"]
    assert [(row["cost"], row["tags"], row["won"]) for row in behind] == [("0.150000000000", {"team": "red"}, True)]
    failed = (await running.client.get("/v1/spend/attempts?failure=timeout&won=false")).json()["rows"]
    assert [row["failure"] for row in failed] == ["timeout"]
    first = (await running.client.get("/v1/spend/attempts?limit=1", headers=AS_ADMIN)).json()
    rest = await running.client.get("/v1/spend/attempts", params={"after": first["after"]}, headers=AS_ADMIN)
    assert len({row["attempt"] for row in (*first["rows"], *rest.json()["rows"])}) == len(ATTEMPTS)


async def test_a_comparison_prices_the_same_tokens_elsewhere(running: RunningEdge) -> None:
    found = (await running.client.get("/v1/spend/compare?since=1d&against=openai/gpt-4o,openai/nobody")).json()
    first, second = found["rows"]
    assert (first["deployment"], first["cost"]) == ("openai/gpt-4o", "2.500075")
    assert (second["deployment"], second["cost"]) == ("openai/nobody", None)
    assert found["approximated"]
    wrong = await running.client.get("/v1/spend/compare?against=gpt-4o")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "against")


async def test_a_forecast_has_the_budgets_that_a_key_may_see(running: RunningEdge) -> None:
    def payers(found: Any) -> set[tuple[str, str, str]]:
        return {(row["payer"], row["name"], row["window"]) for row in found["rows"]}

    own = (await running.client.get("/v1/spend/forecast")).json()
    assert payers(own) == {
        ("all", PROJECT, "day"),
        ("all", PROJECT, "month"),
        ("project", PROJECT, "month"),
        ("tag", "team=red", "day"),
    }
    everybody = (await running.client.get("/v1/spend/forecast", headers=AS_ADMIN)).json()
    assert ("route", "chat", "total") in payers(everybody)
    month = next(row for row in own["rows"] if row["payer"] == "project")
    assert (month["spent"], month["budget"]) == ("0.150000000001", "10")


async def test_csv_is_safe_to_open(running: RunningEdge) -> None:
    ways: tuple[dict[str, Any], ...] = (
        {"params": {"tag": "team", "format": "csv"}},
        {"params": {"tag": "team"}, "headers": {"accept": "text/csv"}},
    )
    for how in ways:
        found = await running.client.get("/v1/spend", **how)
        assert found.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(found.text)))
        assert [row["tag"] for row in rows] == ["'=1+1", "red"]
        assert [row["cost"] for row in rows] == ["0.000000000001", "0.150000000000"]
    for path in ("/attempts", "/compare", "/forecast"):
        found = await running.client.get(f"/v1/spend{path}?format=csv")
        assert len(list(csv.DictReader(io.StringIO(found.text)))) >= 2
    paged = await running.client.get("/v1/spend?by=tag&tag=team&format=csv&limit=1")
    assert paged.headers["x-penstock-after"]


async def test_a_report_of_drafts_has_each_route_that_is_verified(running: RunningEdge) -> None:
    found = (await running.client.get("/v1/spend/drafts?since=1d", headers=AS_ADMIN)).json()
    (row,) = found["rows"]
    assert (row["route"], row["verifier"], row["mode"], row["agreement"]) == ("chat", "premium", "after", None)
    assert (row["drafts"]["attempts"], row["alone"][0]["deployment"]) == (4, "openai/gpt-4o")
    sheet = await running.client.get("/v1/spend/drafts?since=1d&format=csv")
    (line,) = csv.DictReader(io.StringIO(sheet.text))
    assert (line["route"], line["drafts"], line["verification"]) == ("chat", "0.150000000001", "0.000000000000")
    wrong = await running.client.get("/v1/spend/drafts?route=nobody")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "route")
    assert (await running.client.get("/v1/spend/drafts?model=gpt-4o")).status_code == 400


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=colour", "by"),
        ("by=model,model", "by"),
        ("by=hour,day,month,model,route", "by"),
        ("by=tag", "tag"),
        ("by=tag,reason&tag=team", "reason"),
        ("since=yesterday", "since"),
        ("since=2026-13-01", "since"),
        ("since=2026-11-02&until=2026-11-01", "until"),
        ("limit=0", "limit"),
        ("after=x", "after"),
        ("format=xml", "format"),
        ("project=%00", "project"),
        ("model=" + "m" * 401, "model"),
    ],
)
async def test_a_wrong_parameter_is_named(running: RunningEdge, query: str, param: str) -> None:
    found = await running.client.get(f"/v1/spend?{query}", headers=AS_ADMIN)
    assert (found.status_code, found.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("text", ["' OR '1'='1", "'; DROP TABLE spend; --", "%' --", "\\", "a\nb", "\ud83d", "🎈"])
async def test_a_parameter_is_a_value_whatever_it_says(running: RunningEdge, text: str) -> None:
    sent = text.encode("utf-8", "surrogatepass")
    for name in ("project", "provider", "model", "deployment", "route", "key", "tag"):
        value = sent if name != "tag" else b"team=" + sent
        found = await running.client.get("/v1/spend", params={name: value}, headers=AS_ADMIN)
        assert (found.status_code, found.json()["total"]["attempts"]) == (200, 0), name
        behind = await running.client.get("/v1/spend/attempts", params={name: value}, headers=AS_ADMIN)
        assert (behind.status_code, behind.json()["rows"]) == (200, []), name
    assert (await running.client.get("/v1/spend", headers=AS_ADMIN)).json()["total"]["attempts"] == len(ATTEMPTS)


async def test_a_text_that_does_harm_in_a_statement_does_none_in_any_parameter(running: RunningEdge) -> None:
    names = ("project", "provider", "model", "deployment", "route", "key")
    for number, text in enumerate(INJECTIONS):
        for path in ("", "/attempts"):
            asked = dict.fromkeys(names if number % 8 == 0 else names[number % len(names) :][:1], text)
            for name, value in {**asked, "tag": f"{text}={text}"}.items():
                found = await running.client.get(f"/v1/spend{path}", params={name: value}, headers=AS_ADMIN)
                assert (found.status_code, found.json()["rows"]) == (200, []), (path, name, value, found.text)
            for name in ("since", "until", "after", "limit", "format", "reason") if number % 4 == 0 else ("since",):
                found = await running.client.get(f"/v1/spend{path}", params={name: text}, headers=AS_ADMIN)
                assert (found.status_code, found.json()["error"]["param"]) == (400, name), (path, text, found.text)
        found = await running.client.get("/v1/spend", params={"by": text}, headers=AS_ADMIN)
        assert (found.status_code, found.json()["error"]["param"]) == (400, "by"), text
        found = await running.client.get("/v1/spend/compare", params={"against": f"openai/{text}"}, headers=AS_ADMIN)
        assert found.status_code in {200, 400}, (text, found.text)
        assert all(row["cost"] is None for row in found.json().get("rows", ()))
        found = await running.client.get("/v1/spend/forecast", params={"project": text}, headers=AS_ADMIN)
        assert found.status_code == 200, (text, found.text)
        assert all(float(row["spent"]) == 0 for row in found.json()["rows"]), text
    assert (await running.client.get("/v1/spend", headers=AS_ADMIN)).json()["total"]["attempts"] == len(ATTEMPTS)


async def penstock(url: str, *words: str, out: int = asyncio.subprocess.PIPE, **kept: str) -> tuple[int, str, str]:
    """Runs the command; with ``out`` its standard output goes there."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK")}  # noqa: TID251
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer_sdk.cli", "spend", *words),
        cwd=ROOT,
        env={**rest, "PENSTOCK_GATEWAY": url, "COLUMNS": "200", **kept},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out,
        stderr=asyncio.subprocess.PIPE,
    )
    said, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, (said or b"").decode(), err.decode()


async def test_at_a_terminal_it_is_a_table_with_heads_of_columns(running: RunningEdge) -> None:
    keeper, terminal = pty.openpty()
    try:
        for words, heads in (
            (("--by", "project,model"), "project model attempts tokens in tokens out USD wasted"),
            (("compare",), "deployment USD difference approximated"),
            (("drafts",), "route accept correct replace unread agreement drafts verification verifier alone saved"),
            (("forecast",), "budget of name project window end budget spent at the end used up"),
        ):
            code, _, err = await penstock(running.url, *words, out=terminal, PENSTOCK_ADMIN_KEY=ADMIN, TERM="xterm")
            assert code == 0, err
            said = re.sub(r"\x1b\[[0-9;]*m", "", os.read(keeper, 65_536).decode())
            assert " ".join(said.splitlines()[0].split()) == heads
            assert "\t" not in said
    finally:
        os.close(keeper)
        os.close(terminal)


async def test_the_command_tells_data_on_standard_output_and_the_total_beside_it(running: RunningEdge) -> None:
    code, out, err = await penstock(running.url, "--by", "project,model", PENSTOCK_ADMIN_KEY=ADMIN)
    assert (code, out.splitlines()[0]) == (
        0,
        f"{PROJECT}\tgpt-4o-mini\t2\t1000010\t5\t0.150000000001\t0.000000000001",
    )
    assert "0.150000000003 USD in 4 attempts" in err
    code, out, _ = await penstock(running.url, "--tag", "team", "--csv", PENSTOCK_KEY=key())
    assert (code, out.splitlines()[1].split(",")[:2]) == (0, ["gpt-4o-mini", "red"])
    code, out, _ = await penstock(running.url, "--json", "--by", "day", PENSTOCK_KEY=key())
    assert (code, json.loads(out)["total"]["attempts"]) == (0, 2)
    code, out, err = await penstock(running.url, "compare", "--since", "1d", PENSTOCK_KEY=key())
    assert (code, len(out.splitlines())) == (0, 2)
    assert "approximated: " in err
    code, out, err = await penstock(running.url, "drafts", "--since", "1d", PENSTOCK_KEY=key())
    assert (code, out.split("\t")[:7]) == (0, ["chat", "0", "0", "0", "0", "-", "0.150000000001"])
    assert "approximated: " in err
    code, out, err = await penstock(running.url, "forecast", "--csv", PENSTOCK_KEY=key())
    assert (code, out.splitlines()[0][:12]) == (0, "payer,name,p")


async def test_the_console_says_what_the_command_says_and_what_the_attempts_make(running: RunningEdge) -> None:
    made = assemble(
        running.config,
        bus=running.bus,
        clock=SystemClock(),
        telemetry=Telemetry(),
        told=lambda _, __: (200, "text/plain", b""),
    )
    await made.server.start()
    try:
        here = f"http://127.0.0.1:{made.server.port}"
        for secret, projects in ((ADMIN, {PROJECT, OTHER}), (key(), {PROJECT})):
            code, out, err = await penstock(running.url, "--by", "model", "--json", PENSTOCK_KEY=secret)
            assert code == 0, err
            said = json.loads(out)
            async with httpx.AsyncClient(base_url=here, headers={"origin": here}, timeout=10.0) as browser:
                await browser.post("/login", data={"key": secret})
                shown = figures((await browser.get("/spend?by=model")).text)
                sheet = await browser.get("/spend/spend.csv?by=model")
            own = [one for one in ATTEMPTS if one.project in projects]
            assert shown["cost"] == dollars(sum(one.cost or 0 for one in own)) == Decimal(said["total"]["cost"])
            assert shown["waste"] == Decimal(said["total"]["waste"])
            for name, counted in (("attempts", "attempts"), ("tokens-in", "input"), ("unpriced", "unpriced")):
                assert shown[name] == said["total"][counted], name
            found = {row["model"]: Decimal(row["cost"]) for row in csv.DictReader(io.StringIO(sheet.text))}
            assert found == {row["model"]: Decimal(row["cost"]) for row in said["rows"]}
    finally:
        await made.server.stop()


def figures(page: str) -> dict[str, Decimal]:
    """The figures of a page by their ids."""
    found = re.findall(r'<dd id="([a-z-]+)">(?:<a [^>]*>)?([\d.,]+)', page)
    return {name: Decimal(value.replace(",", "")) for name, value in found}


async def test_the_commands_errors_have_their_exit_codes(alone: RunningEdge) -> None:
    assert (await penstock(alone.url))[0] == 2  # no key
    assert (await penstock(alone.url, PENSTOCK_KEY=key()))[0] == 5  # no ledger
    assert (await penstock(alone.url, "--by", "colour", PENSTOCK_KEY=key()))[0] == 2
    assert (await penstock(alone.url, "--project", OTHER, PENSTOCK_KEY=key()))[0] == 4
