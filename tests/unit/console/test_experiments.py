"""The page of experiments: what the desk tells of each arm, drawn and in words; and the stop, which is audited."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html import unescape

import pytest

from console.panels.experiments import WIDTH, drawn, signed
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.experiments import Challenger, Metric
from job_contracts.failures import Failure, FailureKind
from job_contracts.operating import AskNote
from job_contracts.trials import (
    AskExperiments,
    AskStop,
    Happened,
    ToldArm,
    ToldDifference,
    ToldExperiment,
    ToldExperiments,
)
from runtime.bus.port import Message
from runtime.settings.experiments import Experiment, Judge
from tests.support.console import ADMIN, MADE, OPERATOR, VIEWER, Served, config, record, served, stored
from tests.support.console_rows import cells, gone, words

COST = ToldDifference(metric=Metric.COST, estimate=-0.62, low=-0.66, high=-0.58, finding="different")
ERRORS = ToldDifference(metric=Metric.ERROR_RATE, estimate=0.004, low=-0.01, high=0.018, finding="open", more=4_000)
UNKNOWN = ToldDifference(metric=Metric.FEEDBACK, estimate=0.0, low=None, high=None, finding="open")
CONTROL = ToldArm(name="control", route="chat", jobs=12_345, failed=6, mean_cost=0.00125, mean_seconds=2.5)
SMALL = ToldArm(
    name="small",
    route="chat-small",
    jobs=1_204,
    failed=5,
    mean_cost=0.0005,
    verdict="small costs 62 % less (58 to 66)",
    differences=(COST, ERRORS, UNKNOWN),
)
ONE = ToldExperiment(
    name="small-model",
    route="chat",
    running=True,
    share=0.05,
    step=1,
    steps=4,
    began=1e9,
    holding="each arm has to see 500 more jobs",
    refused=("unit: it cannot change",),
    arms=(CONTROL, SMALL, ToldArm(name="tiny", route="chat-tiny", jobs=9, stopped="fails more often")),
    audit=(
        Happened(at=1e9, what="began", why="configured", who="configuration"),
        Happened(at=1.1e9, what="raised", why="held long enough"),
    ),
)
STOP = {"on": "small-model/small", "why": "support asks for it"}


@dataclass
class TrialDesk:
    """Answers about experiments what a test says."""

    now: tuple[ToldExperiment, ...] = (ONE,)
    refuses: str = ""
    asked: list[Wire] = field(default_factory=list)

    async def experiments(self, message: Message) -> bytes:
        self.asked.append(decode(AskExperiments, message.data))
        return encode(ToldExperiments(experiments=self.now))

    async def stop(self, message: Message) -> bytes:
        if self.refuses:
            return encode(Refusal(refused=Failure(kind=FailureKind.BAD_REQUEST, message=self.refuses)))
        self.asked.append(decode(AskStop, message.data))
        return encode(ToldExperiments(experiments=self.now))


@pytest.fixture
async def console() -> AsyncIterator[Served]:
    async with served() as made:
        yield made


@pytest.fixture
async def desk(console: Served) -> TrialDesk:
    made = TrialDesk()
    await console.bus.respond(subjects.api("-", "experiments"), made.experiments)
    await console.bus.respond(subjects.api("-", "stop_arm"), made.stop)
    return made


async def test_every_number_of_it_is_the_desks(console: Served, desk: TrialDesk) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/experiments")).text
    shows = cells(page)
    assert list(shows["arm-small-model-control"].values()) == [
        "control",
        "chat",
        "12,345",
        "6",
        "0.001250",
        "2.50",
        "no",
    ]
    assert list(shows["arm-small-model-small"].values())[2:6] == ["1,204", "5", "0.000500", "–"]
    assert shows["arm-small-model-tiny"]["stopped"] == "fails more often"
    text = words(page)
    for said in (
        "Step 2 of 4: 5 % of all units take part.",
        "Holding: each arm has to see 500 more jobs.",
        "Not in force: unit: it cannot change",
        "small costs 62 % less (58 to 66)",
        "tiny: nothing is known yet",
        "-62.0 % -66.0 % -58.0 % different",
        "+0.4 points -1.0 points +1.8 points not distinguishable yet about 4,000",
        "nothing is ruled out yet +0.0 points unknown unknown",
        "held long enough",
    ):
        assert said in text, said
    assert text.index("raised") < text.index("began"), "the newest comes first"
    assert 'href="/attempts?route=chat-small&amp;since=2001-09-09T01:46:40"' in page
    assert desk.asked == [AskExperiments()]


async def test_a_number_of_an_arm_leads_to_its_attempts_since_the_experiment_began(
    console: Served, desk: TrialDesk
) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/experiments")).text
    assert desk.asked
    whole, since = "/attempts?experiment=small-model&arm=", "&since=2001-09-09T01:46:40"
    led = re.findall(r'<a href="(/attempts\?experiment=[^"]+)">([^<]+)</a>', page)
    assert [(unescape(address), shown) for address, shown in led] == [
        (f"{whole}control{since}", "12,345"),
        (f"{whole}control&won=false{since}", "6"),
        (f"{whole}control{since}", "0.001250"),
        (f"{whole}control&won=true{since}", "2.50"),
        (f"{whole}small{since}", "1,204"),
        (f"{whole}small&won=false{since}", "5"),
        (f"{whole}small{since}", "0.000500"),
        (f"{whole}tiny{since}", "9"),
    ]
    assert "feedback (what clients said, which is no attempt)" in words(page)


async def test_what_a_judge_said_leads_to_the_attempts_that_said_it() -> None:
    judged = ToldDifference(metric=Metric.JUDGE, estimate=0.1, low=0.0, high=0.2, finding="open")
    arm = SMALL.model_copy(update={"differences": (judged,)})
    told = TrialDesk((ONE.model_copy(update={"arms": (CONTROL, arm)}),))
    tried = Experiment(
        route="chat",
        challengers={"small": Challenger(route="chat-small")},
        metrics=(Metric.JUDGE,),
        guardrails=(),
        judge=Judge.model_validate({"route": "wise", "budget": {"day": 1}}),
    )
    async with served(config().model_copy(update={"experiments": {"small-model": tried}})) as console:
        await console.bus.respond(subjects.api("-", "experiments"), told.experiments)
        async with console.browser(VIEWER) as browser:
            page = (await browser.get("/experiments")).text
    led = re.findall(r'<a href="([^"]+)">judge</a>', page)
    assert [unescape(address) for address in led] == [
        "/attempts?route=wise&reason=verify&tag=penstock_route%3Dchat&since=2001-09-09T01:46:40"
    ]


async def test_an_interval_is_said_in_words_where_it_is_drawn(console: Served, desk: TrialDesk) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/experiments")).text
    assert re.findall(r'<svg class="interval"[^>]*aria-label="([^"]+)"', page) == [
        "cost: -62.0 %, from -66.0 % to -58.0 %: different",
        "error rate: +0.4 points, from -1.0 points to +1.8 points: not distinguishable yet",
    ]
    assert desk.asked


@pytest.mark.parametrize(
    ("low", "estimate", "high"), [(-0.66, -0.62, -0.58), (0.0, 0.0, 0.0), (-3.7, 0.1, 1e4), (1e-12, 2e-12, 3e-12)]
)
def test_an_interval_lies_within_its_drawing_with_the_zero_in_the_middle(
    low: float, estimate: float, high: float
) -> None:
    found = COST.model_copy(update={"low": low, "estimate": estimate, "high": high})
    at = drawn(found)
    assert at is not None
    assert 0 <= at.low <= at.estimate <= at.high <= WIDTH
    assert (at.low < WIDTH / 2) is (round(low / at.reach, 4) < 0)
    assert f"{at.reach:.0e}"[0] in "125"


def test_shares_are_said_in_per_cent_and_the_others_in_points() -> None:
    assert signed(COST, 0.1234) == "+12.3 %"
    assert signed(ERRORS, -0.0004) == "-0.0 points"
    assert signed(UNKNOWN, None) == "unknown"


async def test_without_any_the_page_says_how_to_write_one_down(console: Served, desk: TrialDesk) -> None:
    desk.now = ()
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/experiments")).text
    assert "There is no experiment. Write one into the section" in words(page)
    assert 'id="stop"' not in page


async def test_what_has_ended_or_was_adopted_is_told_and_can_no_more_be_stopped(
    console: Served, desk: TrialDesk
) -> None:
    ended = ONE.model_copy(update={"running": False})
    adopted = ONE.model_copy(update={"name": "done", "adopted": "small"})
    desk.now = (ended, adopted)
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/experiments")).text
    assert "small-model ended" in words(page)
    assert "small is adopted: all jobs of the route go to it." in words(page)
    assert re.findall(r'<option value="([^"]+)"', page) == ["done/small"]


async def word(console: Served, browser_page: str) -> str:
    found = re.search(r'id="stop".*?name="forms" value="([^"]+)"', browser_page, re.DOTALL)
    assert found is not None
    return found[1]


async def test_an_operator_stops_an_arm_and_that_is_in_the_audit_with_their_name(
    console: Served, desk: TrialDesk
) -> None:
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/experiments?on=small-model/small")).text
        assert '<option value="small-model/small" selected>' in page
        answer = await browser.post(
            "/experiments/stop", data={**STOP, "forms": await word(console, page)}, headers=console.own
        )
        assert answer.headers["location"] == "/experiments"
        assert "small of small-model is stopped (audit 9)" in (await browser.get("/experiments")).text
    assert [one for one in desk.asked if isinstance(one, AskStop)] == [
        AskStop(experiment="small-model", arm="small", why="support asks for it (otto)")
    ]
    assert [one for one in console.desk.asked if isinstance(one, AskNote)][1:] == [
        AskNote(by="otto", did="stop_arm", on="experiment", name="small-model/small", why="support asks for it")
    ]


@pytest.mark.parametrize("over", [{"on": ""}, {"on": "small-model"}, {"why": "  "}, {"why": "x" * 500}])
async def test_a_form_without_an_arm_or_a_reason_stops_nothing(
    console: Served, desk: TrialDesk, over: dict[str, str]
) -> None:
    async with console.browser(ADMIN) as browser:
        page = (await browser.get("/experiments")).text
        data = {**STOP, **over, "forms": await word(console, page)}
        await browser.post("/experiments/stop", data=data, headers=console.own)
        assert "Not done:" in (await browser.get("/experiments")).text
    assert not [one for one in desk.asked if isinstance(one, AskStop)]
    assert len([one for one in console.desk.asked if isinstance(one, AskNote)]) == 1, "the login alone"


async def test_what_the_desk_declines_is_said_and_is_not_in_the_audit(console: Served, desk: TrialDesk) -> None:
    desk.refuses = "small-model has no challenger 'small'"
    async with console.browser(ADMIN) as browser:
        page = (await browser.get("/experiments")).text
        await browser.post("/experiments/stop", data={**STOP, "forms": await word(console, page)}, headers=console.own)
        assert "Not done: small-model has no challenger" in (await browser.get("/experiments")).text
    assert len([one for one in console.desk.asked if isinstance(one, AskNote)]) == 1


async def test_a_stop_that_the_audit_did_not_take_is_not_said_to_be_known(console: Served, desk: TrialDesk) -> None:
    """The experiment's own audit has it all the same, with the name of who asked."""
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/experiments")).text
        console.desk.silent = True
        await browser.post("/experiments/stop", data={**STOP, "forms": await word(console, page)}, headers=console.own)
        assert "Not known whether it was done" in (await browser.get("/experiments")).text
    assert [one.why for one in desk.asked if isinstance(one, AskStop)] == ["support asks for it (otto)"]


async def test_a_viewer_and_a_projects_key_stop_nothing(console: Served, desk: TrialDesk) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/experiments")).text
        assert 'id="stop"' not in page
        found = re.search(r'name="forms" value="([^"]+)"', page)
        assert found is not None
        answer = await browser.post("/experiments/stop", data={**STOP, "forms": found[1]}, headers=console.own)
        assert answer.status_code == 403
    await stored(console.bus, record(MADE))
    async with console.browser(MADE) as browser:
        assert (await browser.get("/experiments")).status_code == 403
    assert not [one for one in desk.asked if isinstance(one, AskStop)]


async def test_what_others_wrote_is_text_and_never_markup(console: Served, desk: TrialDesk) -> None:
    nasty = '"><script>alert(1)</script><b>{{ 7*191 }}'
    arm = SMALL.model_copy(update={"name": nasty, "route": nasty, "verdict": nasty})
    line = Happened(at=1.0, what="stopped", why=nasty, who=nasty)
    over = {"name": nasty, "route": nasty, "holding": nasty, "refused": (nasty,), "arms": (CONTROL, arm)}
    desk.now = (ONE.model_copy(update={**over, "audit": (line,)}),)
    async with console.browser(OPERATOR) as browser:
        assert gone((await browser.get("/experiments")).text)
