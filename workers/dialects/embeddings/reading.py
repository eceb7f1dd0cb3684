"""The path of every answer with vectors: bytes, one document, as many vectors as inputs, all of one length.

A dialect says where in its document the vectors, the usage and the model's name stand. Foreign JSON is read as if it
had the documented shape; where it has not, the answer is ``malformed_response``, and so it is when a vector is missing,
has another length than its neighbours or than was asked for, or holds what is no finite number.
"""

from __future__ import annotations

import binascii
import struct
from abc import ABC, abstractmethod
from math import isfinite
from typing import TYPE_CHECKING, Any

from catalogue.quirks import quirks_of
from job_contracts.chat import Answer, FinishReason, Usage
from job_contracts.embeddings import Embeddings, packed, unpacked
from job_contracts.failures import Failure, FailureKind
from workers.dialects.embeddings.asking import dimensions
from workers.dialects.encoding import Losses
from workers.dialects.failures import classify_in_band, readable
from workers.dialects.port import Decoded, Partial
from workers.dialects.reading import WRONG_SHAPE, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.embeddings import EmbeddingRequest
    from job_contracts.stream import Delta
    from workers.dialects.port import Target

_BLANK = b" \t\r\n\xef\xbb\xbf"
_NO_VECTOR = (*WRONG_SHAPE, struct.error, binascii.Error)
_WORDS_OF_ERRORS = ("error", "errors", "message", "detail", "base_resp", "msg")
_K = FailureKind

Vector = str | list[float]
"""As providers write it: base64 of little-endian 32-bit floats, or numbers."""


class VectorReader(ABC):
    """Reads one answer; the public methods are those of ``port.Decoder``."""

    def __init__(self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int) -> None:
        self.quirks = quirks_of(target.provider, target.model)
        self.losses = Losses()
        """What of the answer is not as it was asked for."""
        self._wanted = len(request.inputs)
        self._dimensions = dimensions(request, self.quirks)
        self._provider = target.provider.name
        self._is_page = "html" in content_type.lower()
        self._max_bytes = max_bytes
        self._body: list[bytes] = []
        self._received = 0
        self._failure: Failure | None = None
        self._end: Decoded | Failure | None = None

    # -- what a dialect adds

    @abstractmethod
    def _vectors(self, document: Any) -> list[Vector | None]:
        """The vectors in the order of the inputs; ``None`` where one is missing."""

    @abstractmethod
    def _usage(self, document: Any) -> Usage | None:
        """The provider's account, ``None`` if it gives none."""

    def _model(self, document: Any) -> str | None:
        """The model's name in the provider's words."""
        return None

    # -- the port

    def feed(self, data: bytes) -> Sequence[Delta]:
        self._received += len(data)
        if self._failure is None and self._received > self._max_bytes:
            self._body.clear()
            self._fail(_K.RESPONSE_TOO_LARGE, f"the answer is larger than {self._max_bytes} bytes")
        elif self._failure is None:
            self._body.append(data)
        return ()

    @property
    def failure(self) -> Failure | None:
        return self._failure

    @property
    def complete(self) -> bool:
        return False  # a document ends where its body does

    @property
    def partial(self) -> Partial:
        return Partial(usage=Usage(reported=False))

    def finish(self) -> Decoded | Failure:
        if self._end is None:
            self._end = self._failure or self._read(b"".join(self._body).lstrip(_BLANK))
            self._body.clear()
        return self._end

    # -- steps

    def _read(self, body: bytes) -> Decoded | Failure:
        if not body:
            return self._fail(_K.MALFORMED_RESPONSE, "the answer's body is empty")
        if body[:1] == b"<" or self._is_page:
            return self._fail(_K.MALFORMED_RESPONSE, f"a page instead of an answer: {readable(body)}")
        try:
            document = parse(body)
        except WRONG_SHAPE as error:
            kind = _K.STREAM_TRUNCATED if "EOF" in str(error) else _K.MALFORMED_RESPONSE
            return self._fail(kind, f"not an answer of this dialect: {readable(body)}")
        first = document[0] if isinstance(document, list) and len(document) == 1 else document
        if isinstance(first, dict) and first.get("error"):
            return self._as_told(first)
        try:
            vectors = self._vectors(document)
        except WRONG_SHAPE:
            if isinstance(document, dict) and any(document.get(word) for word in _WORDS_OF_ERRORS):
                return self._as_told(document)
            return self._fail(_K.MALFORMED_RESPONSE, f"there are no vectors in the answer: {readable(body)}")
        return self._whole(document, vectors)

    def _whole(self, document: Any, vectors: list[Vector | None]) -> Decoded | Failure:
        found = [vector for vector in vectors if vector is not None]
        if len(found) != self._wanted or len(vectors) != self._wanted:
            return self._fail(_K.MALFORMED_RESPONSE, f"{len(found)} vectors came for {self._wanted} inputs")
        try:
            data = tuple(_as_sent(vector) for vector in found)
        except _NO_VECTOR:
            return self._fail(_K.MALFORMED_RESPONSE, "a vector is not made of finite numbers")
        lengths = {_length(one) for one in data}
        if len(lengths) != 1 or 0 in lengths:
            said = ", ".join(str(length) for length in sorted(lengths))
            return self._fail(_K.MALFORMED_RESPONSE, f"the vectors differ in length, or are empty: {said}")
        (length,) = lengths
        if self._dimensions is not None and length != self._dimensions:
            words = f"vectors of {self._dimensions} numbers were asked for, and {length} came"
            return self._fail(_K.MALFORMED_RESPONSE, words)
        try:
            usage, model = self._usage(document), self._model(document)
        except WRONG_SHAPE:
            usage, model = None, None  # an account nobody can read is none
        return Decoded(
            answer=Answer(),
            finish_reason=FinishReason.STOP,
            finish_raw=None,
            usage=usage or Usage(reported=False),
            model=model,
            losses=tuple(self.losses),
            embeddings=Embeddings(data=data, dimensions=length),
        )

    def _as_told(self, document: Any) -> Failure:
        told = classify_in_band(document, self.quirks)
        self._failure = told.model_copy(update={"provider": self._provider})
        return self._failure

    def _fail(self, kind: FailureKind, message: str) -> Failure:
        self._failure = Failure(kind=kind, message=message, provider=self._provider)
        return self._failure


def _as_sent(vector: Vector) -> str:
    """The vector as it travels. Raises what ``_NO_VECTOR`` lists if it is none."""
    if isinstance(vector, str):
        numbers: Sequence[float] = unpacked(vector)
        data = vector
    else:
        numbers, data = vector, packed(vector)
    if not isfinite(sum(numbers)):
        raise ValueError("a number is not finite")
    return data


def _length(data: str) -> int:
    """Numbers in a vector as it travels: four bytes each, three bytes in four characters."""
    return (len(data) // 4 * 3 - data.count("=", -2)) // 4
