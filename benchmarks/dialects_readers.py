"""One reader of the same bytes in a process of its own: what it pays for a whole answer and for each chunk of a stream.

    python benchmarks/dialects_readers.py READER DIALECT URL CALLS

``READER`` is ``ours``, ``sdk`` or ``litellm``; ``benchmarks.dialects_beside`` starts one for each and holds the server.
It runs under any interpreter that has the reader's libraries, and imports nothing else. Prints one JSON object: CPU
seconds of this process for ``CALLS`` whole answers and for ``CALLS`` streams, and the characters that were read.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any, Protocol

PROMPT = "Say something of a thousand characters."
MODELS = {
    "openai_chat": "gpt-4o-mini",
    "openai_responses": "gpt-4o-mini",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
MOST = 1000


class Read(Protocol):
    """Asks once, streamed or not, and returns the characters of text it read."""

    async def __call__(self, *, stream: bool) -> int: ...


# -- ours


def ours(dialect: str, url: str) -> Read:
    """A worker's way: encode, send over its transport, decode."""
    load = importlib.import_module("catalogue.load")
    chat = importlib.import_module("job_contracts.chat")
    dialects = importlib.import_module("workers.dialects").DIALECTS
    port = importlib.import_module("workers.dialects.port")
    http = importlib.import_module("workers.http")
    transport = importlib.import_module("workers.transport").AiohttpTransport
    provider = {"openai_responses": "openai", "openai_chat": "openai"}.get(dialect, dialect)
    bases = {"openai": f"{url}/v1", "anthropic": f"{url}/v1", "gemini": f"{url}/v1beta"}
    row = load.providers()[provider].model_copy(update={"base_url": bases[provider]})
    model = row.model(MODELS[dialect])
    upstream = http.Upstream(transport(), row, {})
    spoken = dialects[dialect]
    asked = chat.Conversation.model_validate(
        {"messages": [{"role": "user", "content": PROMPT}], "settings": {"max_tokens": MOST}}
    )

    async def read(*, stream: bool) -> int:
        target = port.Target(row, model, stream=stream)
        encoded = spoken.encode(asked, target)
        reply = await upstream.send(encoded, attempt_id="a.b.1", connect=5.0)
        decoder = spoken.decoder(target, content_type=reply.content_type, names=encoded.names)
        seen = 0
        while not decoder.complete and (data := await reply.read()):
            for delta in decoder.feed(data):
                seen += len(delta.text)
        decoded = decoder.finish()
        await reply.close()
        return seen if stream else len(decoded.answer.text)

    return read


# -- the vendors' own


def sdk(dialect: str, url: str) -> Read:
    """The official client of the dialect's vendor."""
    return {
        "openai_chat": _openai_chat,
        "openai_responses": _openai_responses,
        "anthropic": _anthropic,
        "gemini": _gemini,
    }[dialect](url)


def _openai_chat(url: str) -> Read:
    client = importlib.import_module("openai").AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    asked = {"model": MODELS["openai_chat"], "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MOST}

    async def read(*, stream: bool) -> int:
        if not stream:
            return len((await client.chat.completions.create(**asked)).choices[0].message.content)
        seen = 0
        async for chunk in await client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                seen += len(choice.delta.content or "")
        return seen

    return read


def _openai_responses(url: str) -> Read:
    client = importlib.import_module("openai").AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    asked = {"model": MODELS["openai_responses"], "input": PROMPT, "max_output_tokens": MOST}

    async def read(*, stream: bool) -> int:
        if not stream:
            return len((await client.responses.create(**asked)).output_text)
        seen = 0
        async for event in await client.responses.create(**asked, stream=True):
            if event.type == "response.output_text.delta":
                seen += len(event.delta)
        return seen

    return read


def _anthropic(url: str) -> Read:
    client = importlib.import_module("anthropic").AsyncAnthropic(base_url=url, api_key="k", max_retries=0)
    asked = {"model": MODELS["anthropic"], "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MOST}

    async def read(*, stream: bool) -> int:
        if not stream:
            return sum(len(block.text) for block in (await client.messages.create(**asked)).content)
        seen = 0
        async for event in await client.messages.create(**asked, stream=True):
            if event.type == "content_block_delta":
                seen += len(event.delta.text)
        return seen

    return read


def _gemini(url: str) -> Read:
    genai = importlib.import_module("google.genai")
    client = genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=url))
    asked = {"model": MODELS["gemini"], "contents": PROMPT, "config": {"max_output_tokens": MOST}}

    async def read(*, stream: bool) -> int:
        if not stream:
            return len((await client.aio.models.generate_content(**asked)).text)
        seen = 0
        async for chunk in await client.aio.models.generate_content_stream(**asked):
            seen += len(chunk.text or "")
        return seen

    return read


# -- LiteLLM


def litellm(dialect: str, url: str) -> Read:
    """LiteLLM as a library."""
    library: Any = importlib.import_module("litellm")
    library.telemetry = False
    name, base = {
        "openai_chat": ("openai/gpt-4o-mini", f"{url}/v1"),
        "openai_responses": ("openai/gpt-4o-mini", f"{url}/v1"),
        "anthropic": ("anthropic/claude-sonnet-4-5", url),
        "gemini": ("gemini/gemini-2.5-flash", f"{url}/v1beta/models/gemini-2.5-flash"),
    }[dialect]
    common = {"model": name, "api_base": base, "api_key": "k", "max_retries": 0}
    asked = {**common, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MOST}
    responses = {**common, "input": PROMPT, "max_output_tokens": MOST}

    async def read(*, stream: bool) -> int:
        if dialect == "openai_responses":
            return await _litellm_responses(library, responses, stream=stream)
        if not stream:
            return len((await library.acompletion(**asked)).choices[0].message.content)
        seen = 0
        async for chunk in await library.acompletion(**asked, stream=True):
            for choice in chunk.choices:
                seen += len(choice.delta.content or "")
        return seen

    return read


async def _litellm_responses(library: Any, asked: dict[str, Any], *, stream: bool) -> int:
    if not stream:
        answer = await library.aresponses(**asked)
        return sum(len(part.text) for item in answer.output for part in item.content)
    seen = 0
    async for event in await library.aresponses(**asked, stream=True):
        if event.type == "response.output_text.delta":
            seen += len(event.delta)
    return seen


# -- the measurement


async def measure(read: Read, calls: int) -> dict[str, float]:
    """CPU seconds of whole answers and of streams, and what was read of each."""
    found: dict[str, float] = {}
    for name, stream in (("whole", False), ("stream", True)):
        for _ in range(3):  # what is only paid once
            await read(stream=stream)
        start = time.process_time()
        for _ in range(calls):
            found[f"{name}_characters"] = await read(stream=stream)
        found[name] = time.process_time() - start
    return found


def main() -> None:
    """Measure one reader and print."""
    reader, dialect, url, calls = sys.argv[1:5]
    try:
        loop: Any = importlib.import_module("uvloop").new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    read = {"ours": ours, "sdk": sdk, "litellm": litellm}[reader](dialect, url)
    print(json.dumps(loop.run_until_complete(measure(read, int(calls)))))


if __name__ == "__main__":
    main()
