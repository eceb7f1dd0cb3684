"""Vocabularies of the model families, loaded where a count is first needed: by the library's own data, no download.

The library (splintr) is young; nothing else knows its name. Where it is missing, or does not know a vocabulary, the
estimate from characters stands in, which is less sure, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from workers.dialects import tokens

if TYPE_CHECKING:
    from catalogue.tokens import Vocabulary

__all__ = ["CHARACTERS", "Counter", "counter"]

_NAMES: Mapping[Vocabulary, str] = MappingProxyType(
    {
        "o200k": "o200k_base",
        "cl100k": "cl100k_base",
        "llama3": "llama3",
        "deepseek": "deepseek_v3",
        "qwen": "qwen3",
        "mistral": "mistral_v3",
        "glm": "glm4",
        "kimi": "kimi_k2",
    }
)
"""The library's names."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts the tokens of a text. ``margin`` is by what share a whole prompt's count may be off before it is learned
    better.
    """

    count: Callable[[str], float]
    margin: float
    exact: bool
    """Whether a vocabulary is behind it."""


CHARACTERS = Counter(count=tokens.of_text, margin=0.3, exact=False)
"""The estimate from characters."""


@cache
def counter(vocabulary: Vocabulary) -> Counter:
    """The counter with this vocabulary. Loading takes 50 to 150 ms and up to 50 MB, once a process."""
    try:
        from splintr import Tokenizer  # noqa: PLC0415 - 38 MB that most workers never need
    except ImportError:
        return CHARACTERS
    try:
        tokenizer = Tokenizer.from_pretrained(_NAMES[vocabulary])
    except ValueError:  # a version that does not have it
        return CHARACTERS
    encode = tokenizer.encode_ordinary  # what spells a special token is text here

    def count(text: str) -> float:
        try:
            return float(len(encode(text)))
        except UnicodeEncodeError:  # half a surrogate pair
            return float(len(encode(text.encode("utf-8", "replace").decode("utf-8"))))

    return Counter(count=count, margin=0.1, exact=True)
