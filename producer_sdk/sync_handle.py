"""A submitted job and its stream, blocking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from job_contracts.jobs import JobStatus
from job_contracts.results import Result
from job_contracts.stream import StreamEvent
from producer_sdk.answers import Answered
from producer_sdk.explaining import Explanation
from producer_sdk.handle import JobHandle, Receipt
from producer_sdk.portal import End, Portal, made
from producer_sdk.streams import JobStream


class SyncJobHandle:
    """``JobHandle``, blocking."""

    def __init__(self, portal: Portal, handle: JobHandle) -> None:
        self._portal = portal
        self._handle = handle

    @property
    def id(self) -> str:
        """The job's id."""
        return self._handle.id

    def status(self) -> JobStatus:
        """See ``JobHandle.status``."""
        return self._portal.call(self._handle.status())

    def receipt(self) -> Receipt:
        """See ``JobHandle.receipt``."""
        return self._portal.call(self._handle.receipt())

    def explain(self) -> Explanation:
        """See ``JobHandle.explain``."""
        return self._portal.call(self._handle.explain())

    def result(self, timeout: float | None = None) -> Answered:
        """See ``JobHandle.result``. An interrupt while it waits leaves the job alone."""
        return self._portal.call(self._handle.result(timeout))

    def record(self, timeout: float | None = None) -> Result:
        """See ``JobHandle.record``."""
        return self._portal.call(self._handle.record(timeout))

    def cancel(self, reason: str = "cancelled by the producer") -> None:
        """See ``JobHandle.cancel``."""
        self._portal.call(self._handle.cancel(reason))

    def stream(self, *, timeout: float | None = None) -> SyncJobStream:
        """See ``JobHandle.stream``; a plain iterator."""
        return SyncJobStream(self._portal, lambda: self._handle.stream(timeout=timeout))

    def __repr__(self) -> str:
        return f"SyncJobHandle({self.id!r})"


class SyncJobStream:
    """``JobStream``, a plain iterator. Leave it early through ``close`` or ``with``."""

    def __init__(self, portal: Portal, make: Callable[[], JobStream]) -> None:
        self._portal = portal
        self._stream = portal.call(made(make))

    @property
    def job(self) -> str:
        """The job's id."""
        return self._stream.job

    def __iter__(self) -> SyncJobStream:
        return self

    def __next__(self) -> StreamEvent:
        try:
            return self._portal.call(anext(self._stream))
        except End:
            raise StopIteration from None

    def several(self) -> list[StreamEvent]:
        """See ``JobStream.several``. Raises StopIteration."""
        try:
            return self._portal.call(self._stream.several())
        except End:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See ``JobStream.aclose``."""
        self._portal.call(self._stream.aclose())

    @property
    def result(self) -> Answered:
        """See ``JobStream.result``."""
        return self._stream.result

    def text(self) -> str:
        """Read to the end and return the whole text."""
        return self._portal.call(self._stream.text())
