"""Dead letters for programs without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from job_contracts.jobs import Job
from job_contracts.letters import MAX_LISTED, AnyState, DeadLetter, LetterPage, LetterSummary
from producer_sdk.letters import RATE, DeadLetters, LetterGroup, Tally
from producer_sdk.portal import Portal, iterated
from producer_sdk.sync_handle import SyncJobHandle


class SyncDeadLetters:
    """``DeadLetters``, blocking."""

    def __init__(self, portal: Portal, letters: DeadLetters) -> None:
        self._portal = portal
        self._letters = letters

    def page(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        limit: int = MAX_LISTED,
        state: AnyState = "open",
        fingerprint: str | None = None,
        model: str | None = None,
    ) -> LetterPage:
        """See ``DeadLetters.page``."""
        return self._portal.call(
            self._letters.page(after=after, until=until, limit=limit, state=state, fingerprint=fingerprint, model=model)
        )

    def list(
        self, *, state: AnyState = "open", fingerprint: str | None = None, model: str | None = None
    ) -> Generator[LetterSummary, None, None]:
        """See ``DeadLetters.list``; a plain iterator."""
        return iterated(self._portal, self._letters.list(state=state, fingerprint=fingerprint, model=model))

    def groups(self, *, state: AnyState = "open", model: str | None = None) -> Sequence[LetterGroup]:
        """See ``DeadLetters.groups``."""
        return self._portal.call(self._letters.groups(state=state, model=model))

    def show(self, job: str) -> DeadLetter:
        """See ``DeadLetters.show``."""
        return self._portal.call(self._letters.show(job))

    def body(self, job: str) -> Job:
        """See ``DeadLetters.body``."""
        return self._portal.call(self._letters.body(job))

    def replay(self, job: str, *, model: str | None = None) -> SyncJobHandle:
        """See ``DeadLetters.replay``."""
        return SyncJobHandle(self._portal, self._portal.call(self._letters.replay(job, model=model)))

    def discard(self, job: str, *, why: str = "") -> None:
        """See ``DeadLetters.discard``."""
        self._portal.call(self._letters.discard(job, why=why))

    def replay_all(
        self,
        *,
        fingerprint: str | None = None,
        model: str | None = None,
        rate: float | None = RATE,
        progress: Callable[[Tally], None] | None = None,
    ) -> Tally:
        """See ``DeadLetters.replay_all``; ``progress`` is called on the producer's own thread."""
        return self._portal.call(
            self._letters.replay_all(fingerprint=fingerprint, model=model, rate=rate, progress=progress)
        )

    def discard_all(
        self,
        *,
        fingerprint: str | None = None,
        why: str = "",
        rate: float | None = RATE,
        progress: Callable[[Tally], None] | None = None,
    ) -> Tally:
        """See ``DeadLetters.discard_all``."""
        return self._portal.call(
            self._letters.discard_all(fingerprint=fingerprint, why=why, rate=rate, progress=progress)
        )
