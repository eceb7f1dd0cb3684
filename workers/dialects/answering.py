"""What every dialect does alike: it has a reader of answers, classifies errors by the one table, reads limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue.quirks import quirks_of
from workers.dialects import limits
from workers.dialects.failures import classify
from workers.dialects.port import MAX_ANSWER, NO_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import LimitReading
    from job_contracts.failures import Failure
    from workers.dialects.port import Decoder, Target
    from workers.dialects.reading import Reader


class Answering:
    """The half of ``port.Dialect`` that comes after the request; a dialect adds ``encode``, its name and its reader."""

    reader: type[Reader]

    def decoder(
        self, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER, names: Mapping[str, str] = NO_NAMES
    ) -> Decoder:
        quirks = quirks_of(target.provider, target.model)
        return self.reader(target, quirks, content_type=content_type, max_bytes=max_bytes, names=names)

    def failure(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        quirks = quirks_of(target.provider, target.model)
        return classify(status, headers, body, quirks, provider=target.provider.name)

    def limits(self, target: Target, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        quirks = quirks_of(target.provider, target.model)
        return limits.read(headers, requests_window=quirks.requests_window, tokens_window=quirks.tokens_window)
