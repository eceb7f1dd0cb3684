"""Dead letters of all projects, asked with the services' login: every one of them, answer by answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from job_contracts.dead import AskCauses, AskDeadLetters, Cause, Causes, DeadLetters, OfProject, added, ranked
from producer_sdk.cli.operators import operators


async def all_causes(url: str | None, asked: AskCauses) -> list[Cause]:
    """By cause, most letters first, as of the first answer: what is set aside meanwhile is not in it."""
    found: dict[str, Cause] = {}
    fields = asked.model_dump(include=set(AskCauses.model_fields))
    async with operators(url) as ask:
        while True:
            answer = await ask("dead_causes", AskCauses(**fields), Causes)
            added(found, answer.causes)
            if not answer.more:
                return ranked(found)
            fields |= {"after": answer.after, "until": fields["until"] or answer.last}


async def all_letters(url: str | None, asked: AskDeadLetters) -> AsyncIterator[OfProject]:
    """One by one, oldest first."""
    async with operators(url) as ask:
        while True:
            answer = await ask("dead_letters", asked, DeadLetters)
            for letter in answer.letters:
                yield letter
            if not answer.more:
                return
            asked = asked.model_copy(update={"after": answer.after, "until": asked.until or answer.last})
