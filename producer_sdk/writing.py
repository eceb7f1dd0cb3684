"""What one producer writes: requests with an id and a token of their own, at a moment, of a span."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from job_contracts.embeddings import Purpose
from producer_sdk.options import Inputs, Messages, Tools
from producer_sdk.request import Request, prepare, prepare_embedding


class Writer:
    """Ids begin with ``stem``, by which answers find their way back; ``clock`` tells UTC seconds; ``trace`` says for
    each job which span it belongs to, as a ``traceparent``.
    """

    def __init__(self, stem: str, clock: Callable[[], float], trace: Callable[[], str | None] | None) -> None:
        self._stem, self._clock, self._trace = stem, clock, trace

    def chat(
        self, model: str, messages: Messages, tools: Tools, options: Mapping[str, Any], *, stream: bool
    ) -> Request:
        """A job for an answer. Raises InvalidRequest."""
        bits = secrets.token_hex(16)
        return prepare(
            model,
            messages,
            tools,
            self._traced(options),
            stream=stream,
            new_id=f"{self._stem}-{bits[:16]}",
            token=bits[16:],
            now=self._clock(),
        )

    def embedding(
        self, model: str, inputs: Inputs, options: Mapping[str, Any], dimensions: int | None, purpose: Purpose | None
    ) -> Request:
        """A job for vectors. Raises InvalidRequest."""
        bits = secrets.token_hex(16)
        return prepare_embedding(
            model,
            inputs,
            self._traced(options),
            dimensions=dimensions,
            purpose=purpose,
            new_id=f"{self._stem}-{bits[:16]}",
            token=bits[16:],
            now=self._clock(),
        )

    def _traced(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with the span that the job belongs to, unless they name one."""
        trace = None if self._trace is None else self._trace()
        return options if trace is None or options.get("trace") is not None else {**options, "trace": trace}
