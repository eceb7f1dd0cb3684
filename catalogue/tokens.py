"""What model families make of a prompt's characters: their vocabulary, and what their providers add, as rows.

Measured over some 5,000 recorded requests whose providers reported usage: a count with the vocabulary o200k explains
what OpenAI, Azure, Gemini, Mistral, DeepSeek and Zhipu report to a few tokens; Anthropic's models count about a seventh
more; where tools are declared most providers write some hundred tokens around them, which no text shows. These are
start values: workers correct them by the usage that is reported.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from catalogue.rows import ModelRow, ProviderRow

Vocabulary = Literal["o200k", "cl100k", "llama3", "deepseek", "qwen", "mistral", "glm", "kimi"]


class TokenFacts(BaseModel):
    """How a count becomes what the provider reports: ``fixed + ratio * count``, with tools ``tools_fixed`` more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: Vocabulary = "o200k"
    """The vocabulary the text is counted with."""
    ratio: Annotated[float, Field(ge=0.5, le=2.5)] = 1.0
    """Reported tokens for one counted."""
    fixed: Annotated[int, Field(ge=0, le=4_000)] = 0
    """Tokens the provider adds to every prompt."""
    tools_fixed: Annotated[int, Field(ge=0, le=4_000)] = 0
    """Tokens it adds where tools are declared."""


class Family(NamedTuple):
    """Models (globs over their names in lower case) of which the same is true wherever they are served."""

    models: tuple[str, ...]
    facts: TokenFacts


FAMILIES: tuple[Family, ...] = (
    Family(("*claude-sonnet-5*", "*claude-opus-5*"), TokenFacts(ratio=1.24, tools_fixed=500)),
    Family(("*claude*",), TokenFacts(ratio=1.14, tools_fixed=500)),
    Family(("*gpt-3.5*", "gpt-4", "gpt-4-*", "openai/gpt-4", "openai/gpt-4-*"), TokenFacts(vocabulary="cl100k")),
    Family(("*grok*",), TokenFacts(fixed=185, tools_fixed=100)),
    Family(("*command-*", "*c4ai-*"), TokenFacts(fixed=488, tools_fixed=908)),
    Family(("*amazon.nova-micro*", "*amazon/nova-micro*"), TokenFacts(tools_fixed=350)),
    Family(("*amazon.nova*", "*amazon/nova*", "nova-*"), TokenFacts(tools_fixed=910)),
    Family(("*gemini*", "*gemma*"), TokenFacts()),
    Family(("*deepseek-v4*",), TokenFacts(vocabulary="deepseek", fixed=76, tools_fixed=230)),
    Family(("*deepseek*",), TokenFacts(vocabulary="deepseek", tools_fixed=250)),
    Family(("*qwen*", "*qwq*", "*qvq*"), TokenFacts(vocabulary="qwen", tools_fixed=120)),
    Family(("*glm-*", "*glm4*"), TokenFacts(vocabulary="glm", tools_fixed=120)),
    Family(("*kimi*", "*moonshot*"), TokenFacts(vocabulary="kimi", tools_fixed=60)),
    Family(("*llama-3*", "*llama3*", "*llama-4*"), TokenFacts(vocabulary="llama3", fixed=25, tools_fixed=100)),
    Family(
        ("*mistral*", "*mixtral*", "*codestral*", "*devstral*", "*magistral*", "*pixtral*"),
        TokenFacts(vocabulary="mistral", tools_fixed=20),
    ),
    Family(("*gpt-oss*",), TokenFacts(fixed=60, tools_fixed=40)),
)
"""The first that matches is taken. A provider's or a model's row may say otherwise (``tokens``)."""

USUAL = TokenFacts()


def facts_of(provider: ProviderRow, model: ModelRow) -> TokenFacts:
    """The facts for a model at a provider: the model's row, else the provider's, else its family's, else the usual."""
    if model.tokens is not None:
        return model.tokens
    if provider.tokens is not None:
        return provider.tokens
    name = model.name.lower()
    for family in FAMILIES:
        if any(fnmatchcase(name, pattern) for pattern in family.models):
            return family.facts
    return USUAL
