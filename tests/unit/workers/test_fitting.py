"""A conversation is looked at before its provider is called: it fits, is made to fit, or is refused with numbers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catalogue.rows import ModelRow, ProviderRow
from catalogue.tokens import TokenFacts, Vocabulary
from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation, Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from tests.support import builders
from tests.support.upstream import completion, response, upstream
from tests.support.worker import bench
from workers import vocabularies
from workers.dialects import tokens
from workers.dialects.port import Target
from workers.fitting import Fitted, Fitting
from workers.http import CallFailed
from workers.places import put_back
from workers.vocabularies import CHARACTERS, Counter, counter

WORDS = "The quick brown fox jumps over the lazy dog. "
"""Ten tokens."""


def target(window: int | None = 1_000, **model: Any) -> Target:
    row = ProviderRow(name="alpha", dialect="openai_chat", base_url="https://alpha.example")
    return Target(row, ModelRow.model_validate({"name": "m", "context_window": window, **model}))


def talk(exchanges: int, *, tokens_each: int = 100, **settings: Any) -> Conversation:
    text = WORDS * (tokens_each // 10)
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for n in range(exchanges):
        turns += [{"role": "user", "content": f"{n}: {text}"}, {"role": "assistant", "content": text}]
    return Conversation.model_validate(
        {"messages": [*turns, {"role": "user", "content": "And now?"}], "settings": settings}
    )


def order(fit: str = "refuse", **over: Any) -> Assignment:
    return builders.assignment(deployment="alpha/m", fit=fit, **over)


async def fit(conversation: Conversation, whom: Target, how: Assignment, *, by: Fitting | None = None) -> Fitted:
    return await (by or Fitting()).fit(conversation, whom, how)


async def refusal(conversation: Conversation, whom: Target, how: Assignment, by: Fitting | None = None) -> Failure:
    with pytest.raises(CallFailed) as broken:
        await fit(conversation, whom, how, by=by)
    return broken.value.failure


class Counted:
    """Counters that tell how much they were asked to count."""

    def __init__(self, factor: float = 1.0) -> None:
        self.characters = 0
        self.factor = factor

    def __call__(self, vocabulary: Vocabulary) -> Counter:
        return Counter(self._count, margin=0.1, exact=True)

    def _count(self, text: str) -> float:
        self.characters += len(text)
        return len(text) / 4.5 * self.factor


# -- what a job pays


async def test_nothing_is_counted_where_the_window_is_not_known() -> None:
    counted = Counted()
    conversation = talk(500)
    found = await fit(conversation, target(None), order(), by=Fitting(counted))
    assert found.conversation is conversation
    assert not found.losses
    assert counted.characters == 0
    assert found.estimate() == tokens.estimate(conversation)


async def test_only_near_the_window_is_the_text_counted_exactly() -> None:
    counted = Counted()
    whole = talk(4)
    size = tokens.estimate(whole)
    await fit(whole, target(size * 3), order(), by=Fitting(counted))
    assert counted.characters == 0
    await fit(whole, target(int(size * 1.5)), order(), by=Fitting(counted))
    assert counted.characters > 3_000


async def test_what_is_many_times_too_long_is_refused_uncounted() -> None:
    counted = Counted()
    failure = await refusal(talk(100), target(1_000), order(), Fitting(counted))
    assert failure.kind is FailureKind.CONTEXT_OVERFLOW
    assert counted.characters == 0


async def test_others_go_on_while_a_long_conversation_is_counted() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    await fit(talk(1, tokens_each=100_000), target(300_000), order(), by=Fitting(Counted()))
    running.cancel()
    assert turns >= 900_000 // tokens.PIECE - 1


async def test_of_what_is_trimmed_to_a_fraction_the_old_part_is_only_estimated() -> None:
    counted = Counted()
    conversation = talk(2_000)
    await fit(conversation, target(1_000), order("trim"), by=Fitting(counted))
    assert counted.characters < 0.1 * sum(len(str(turn.content)) for turn in conversation.messages)


# -- refusing


async def test_too_long_is_refused_with_all_numbers_and_a_remedy() -> None:
    failure = await refusal(talk(10, max_tokens=300), target(1_000), order())
    assert failure.kind is FailureKind.CONTEXT_OVERFLOW
    assert failure.field == "conversation.messages"
    for word in ("takes about 21", "at least 125", "asked for: 300", "1000 tokens", "of m"):
        assert word in failure.message
    assert "fit: trim" in (failure.remedy or "")


async def test_what_only_may_be_too_long_is_sent_because_a_refusal_must_be_right() -> None:
    conversation = talk(5)
    size = sum(counter("o200k").count(str(turn.content)) + 4 for turn in conversation.messages) + 3
    found = await fit(conversation, target(int(size * 1.1)), order())
    assert found.conversation.messages == conversation.messages


# -- the answer's part of the window


async def test_a_limit_to_the_answer_is_lowered_to_what_the_conversation_leaves() -> None:
    found = await fit(talk(3, max_tokens=900), target(1_200), order())
    (loss,) = found.losses
    left = found.conversation.settings.max_tokens or 0
    assert (loss.kind, loss.field) == ("clamped", "settings.max_tokens")
    assert f"900 to {left}" in loss.detail
    assert "1200" in loss.detail
    assert left >= 125
    assert left + found.size <= 1_200


async def test_a_limit_that_alone_is_longer_than_the_window_is_lowered_too() -> None:
    counted = Counted()
    found = await fit(talk(0, max_tokens=5_000), target(1_000), order(), by=Fitting(counted))
    assert 900 < (found.conversation.settings.max_tokens or 0) < 1_000
    assert counted.characters == 0


async def test_where_no_limit_is_asked_for_one_is_set_only_if_the_models_own_would_be_too_long() -> None:
    short, long = talk(0), talk(4)
    assert (await fit(short, target(1_000, max_output=1_000), order())).conversation is short
    found = await fit(long, target(1_200, max_output=600), order())
    assert 125 <= (found.conversation.settings.max_tokens or 0) < 400
    assert found.losses
    roomy = await fit(long, target(1_900, max_output=600), order())
    assert roomy.conversation is long


# -- trimming


@pytest.mark.parametrize("window", [300, 700, 1_500, 4_000])
async def test_trimmed_it_fits_with_its_margin_and_room_for_an_answer(window: int) -> None:
    conversation = talk(40)
    found = await fit(conversation, target(window), order("trim"))
    assert found.calibration is not None
    assert found.size * (1 + found.calibration.margin) + min(512, window // 8) <= window
    assert found.size > window * 0.4, "no more went than had to"
    assert found.conversation.messages[0] == conversation.messages[0]
    assert found.conversation.messages[-1] == conversation.messages[-1]
    (loss,) = found.losses
    assert loss.kind == "dropped"


async def test_where_not_even_the_minimum_fits_a_trimming_route_refuses_as_well() -> None:
    long = builders.conversation(WORDS * 300)
    failure = await refusal(long, target(1_000), order("trim"))
    assert failure.kind is FailureKind.CONTEXT_OVERFLOW
    assert "trimmed as far as can be" in failure.message
    assert "last turns" in (failure.remedy or "")


async def test_after_an_overflow_at_the_same_place_it_is_trimmed_harder() -> None:
    overflow = Failure(kind=FailureKind.CONTEXT_OVERFLOW, message="too long")
    here = builders.record(deployment="alpha/m", failure=overflow)
    elsewhere = builders.record(deployment="beta/m", failure=overflow)
    sizes = [
        (await fit(talk(40), target(2_000), order("trim", history=history))).size
        for history in [(), (elsewhere,), (here,), (here, here)]
    ]
    assert sizes[0] == sizes[1] > sizes[2] > sizes[3]


# -- learning


async def test_what_the_provider_reports_corrects_the_next_count() -> None:
    fitting, whom = Fitting(Counted()), target(10_000)
    conversation = talk(30)
    size = (await fit(conversation, whom, order(), by=fitting)).size
    for _ in range(30):
        again = await fit(conversation, whom, order(), by=fitting)
        fitting.learn(again, Usage(input=round(size * 1.3)))
    last = await fit(conversation, whom, order(), by=fitting)
    assert last.size == pytest.approx(size * 1.3, rel=0.05)
    assert last.calibration is not None
    assert last.calibration.margin < 0.1


async def test_what_was_not_reported_or_shows_pictures_teaches_nothing() -> None:
    fitting, whom = Fitting(), target(100_000)
    image = {"type": "image", "url": "https://example.com/a.png"}
    shown = builders.conversation(messages=[{"role": "user", "content": [image]}])
    plain = talk(10)
    for conversation, usage in ((shown, Usage(input=90_000)), (plain, Usage(input=90_000, reported=False))):
        before = await fit(conversation, whom, order(), by=fitting)
        size = before.size
        fitting.learn(before, usage)
        assert before.size == size


async def test_an_unexpected_overflow_makes_the_next_count_higher() -> None:
    fitting, whom = Fitting(), target(1_200)
    before = await fit(talk(4), whom, order(), by=fitting)
    size = before.size
    fitting.overflowed(before)
    assert (await fit(talk(4), whom, order(), by=fitting)).size > size


async def test_models_and_prompts_with_tools_are_learned_apart() -> None:
    facts = TokenFacts(tools_fixed=700)
    fitting, whom = Fitting(), target(100_000, tokens=facts)
    plain = talk(1)
    tools = plain.model_copy(update={"tools": builders.conversation(tools=[{"name": "f"}]).tools})
    sizes = [(await fit(each, whom, order(), by=fitting)).size for each in (plain, tools)]
    assert 700 <= sizes[1] - sizes[0] <= 720


# -- vocabularies


def test_a_vocabulary_counts_what_spells_a_special_token_as_text_and_survives_half_a_surrogate_pair() -> None:
    count = counter("o200k").count
    assert count("hello world") == 2
    assert count("<|endoftext|>") > 3
    assert count("a\ud800b") >= 1
    assert counter("o200k") is counter("o200k")


@pytest.mark.parametrize("vocabulary", vocabularies._NAMES)
def test_every_vocabulary_is_in_the_library(vocabulary: Vocabulary) -> None:
    found = counter(vocabulary)
    assert found.exact
    assert 180 <= found.count(WORDS * 20) <= 220


async def test_without_the_library_the_estimate_stands_in_and_is_less_sure() -> None:
    fitting = Fitting(lambda _: CHARACTERS)
    conversation = talk(10)
    failure = await refusal(conversation, target(1_200), order(), fitting)
    assert failure.kind is FailureKind.CONTEXT_OVERFLOW
    found = await fit(conversation, target(1_800), order(), by=fitting)
    assert found.conversation.messages == conversation.messages, "2,000 tokens, give or take three tenths"


# -- in a worker


def rows(window: int) -> dict[str, ProviderRow]:
    models = [{"name": "m", "context_window": window}]
    values = {"name": "alpha", "dialect": "openai_chat", "base_url": "https://x", "models": models}
    return {"alpha": ProviderRow.model_validate(values)}


async def test_too_long_for_the_model_the_provider_is_never_called_and_nothing_is_billed() -> None:
    async with upstream([response(completion())]) as server, bench(server.url, catalogue=rows(1_000)) as worker:
        given = await worker.hand(worker.assignment(job=builders.job(conversation=talk(10))))
        outcome = await worker.outcome(given)
        assert outcome.failure.kind is FailureKind.CONTEXT_OVERFLOW
        assert outcome.failure.deployment == "alpha/m"
        assert not outcome.called
        assert outcome.record.usage == Usage()
        assert server.asked == []
        assert worker.facts() == {}


async def test_a_trimmed_job_is_answered_and_its_record_says_what_went() -> None:
    async with upstream([response(completion())]) as server, bench(server.url, catalogue=rows(1_000)) as worker:
        conversation = talk(10, max_tokens=400)
        given = await worker.hand(worker.assignment(job=builders.job(conversation=conversation), fit="trim"))
        result = await worker.result(given)
        messages = server.asked[0].json["messages"]
        assert messages[0] == {"role": "system", "content": "Be brief."}
        assert messages[-1]["content"] == "And now?"
        assert 4 <= len(messages) < len(conversation.messages)
        kinds = [(loss.kind, loss.field) for loss in result.attempts[-1].losses]
        assert ("dropped", f"messages[1:{len(conversation.messages) - len(messages) + 1}]") in kinds
        assert ("clamped", "settings.max_tokens") in kinds


async def test_losses_of_a_trimmed_and_adapted_job_name_the_places_its_producer_knows() -> None:
    async with upstream([response(completion())]) as server, bench(server.url, catalogue=rows(1_000)) as worker:
        turns = [turn.model_dump(exclude_none=True) for turn in talk(10).messages]
        turns.append({"role": "assistant", "content": [{"type": "reasoning", "text": "Hm.", "signature": "s"}]})
        turns.append({"role": "user", "content": "So?"})
        asked = Conversation.model_validate({"messages": turns})
        adaptation = {"system_append": "Answer in English."}
        order = worker.assignment(job=builders.job(conversation=asked), fit="trim", adaptation=adaptation)
        result = await worker.result(await worker.hand(order))
        fields = [loss.field for loss in result.attempts[-1].losses]
        gone = len(turns) - (len(server.asked[0].json["messages"]) - 1)
        assert fields[:2] == ["messages", f"messages[1:{gone + 1}]"]
        assert f"messages[{len(turns) - 2}].reasoning" in fields


def test_a_loss_about_a_turn_of_the_routes_own_names_no_place() -> None:
    def told(*fields: str) -> list[str]:
        losses = [Loss(kind="dropped", field=field, detail="why") for field in fields]
        return [loss.field for loss in put_back(losses, [0, None, 4, 5])]

    assert told("messages[0].content", "messages[2].content.cache", "messages[2:4]") == [
        "messages[0].content",
        "messages[4].content.cache",
        "messages[4:6]",
    ]
    assert told("messages[1].role", "messages[0:2]", "messages[9]") == ["messages"] * 3
    assert told("settings.top_k", "messages", "tools.f.parameters") == [
        "settings.top_k",
        "messages",
        "tools.f.parameters",
    ]


async def test_reported_usage_is_learned_from_by_the_worker() -> None:
    usage = {"prompt_tokens": 700, "completion_tokens": 3, "total_tokens": 703}
    served = response(completion(usage=usage))
    async with upstream([served]) as server, bench(server.url, catalogue=rows(100_000)) as worker:
        for _ in range(12):
            await worker.result(await worker.hand(worker.assignment()))
        fitting, asked = worker.worker.pool._endpoint.fitting, builders.job().chat
        whom = worker.worker.pool._endpoint.target("m", stream=False)
        assert 500 <= (await fitting.fit(asked, whom, worker.assignment())).size <= 710


async def test_an_overflow_the_provider_reports_is_learned_from_too() -> None:
    said = {"error": {"message": "maximum context length is 900 tokens", "code": "context_length_exceeded"}}
    async with upstream([response(said, status=400)]) as server, bench(server.url, catalogue=rows(1_000)) as worker:
        fitting, asked = worker.worker.pool._endpoint.fitting, talk(3)
        whom = worker.worker.pool._endpoint.target("m", stream=False)
        before = (await fitting.fit(asked, whom, worker.assignment())).size
        outcome = await worker.outcome(await worker.hand(worker.assignment(job=builders.job(conversation=asked))))
        assert outcome.failure.kind is FailureKind.CONTEXT_OVERFLOW
        assert outcome.called
        assert (await fitting.fit(asked, whom, worker.assignment())).size > before


async def test_a_provider_that_reports_no_usage_is_taken_to_have_counted_as_we_do() -> None:
    silent = completion()
    del silent["usage"]
    async with upstream([response(silent)]) as server, bench(server.url, catalogue=rows(2_000)) as worker:
        asked = talk(5)
        result = await worker.result(await worker.hand(worker.assignment(job=builders.job(conversation=asked))))
        assert not result.usage.reported
        assert 1_000 <= result.usage.input <= 1_200
