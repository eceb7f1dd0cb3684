"""LiteLLM's router before the provider of ``benchmarks.failover_provider``: run by an interpreter that has LiteLLM.

PYTHON benchmarks/failover_router.py BASE_URL PATIENCE AT_ONCE NAME...

Each name is asked for at a deployment that fails, with one that does not as its fallback, without retries between them
and without cooldowns, so that every call meets the fault; the answer is streamed. It prints how many were answered.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


async def main(base: str, patience: float, at_once: int, names: list[str]) -> int:
    """How many were answered whole."""
    library: Any = importlib.import_module("litellm")
    library.suppress_debug_info = True
    library.telemetry = False
    router = library.Router(
        model_list=[
            {
                "model_name": place,
                "litellm_params": {"model": "openai/m", "api_base": f"{base}/{place}/v1", "api_key": "bench"},
            }
            for place in ("first", "second")
        ],
        fallbacks=[{"first": ["second"]}],
        num_retries=0,
        timeout=patience,
        stream_timeout=patience,
        disable_cooldowns=True,
    )
    places = asyncio.Semaphore(at_once)

    async def one(name: str) -> bool:
        async with places:
            try:
                messages = [{"role": "user", "content": name}]
                stream = await router.acompletion(model="first", messages=messages, stream=True, max_retries=0)
                done = False
                async for chunk in stream:
                    done = done or chunk.choices[0].finish_reason is not None
            except Exception:  # noqa: BLE001 - whatever it raises: there was no answer
                return False
            return done

    return sum(await asyncio.gather(*map(one, names)))


if __name__ == "__main__":
    base_url, patience, at_once, *names = sys.argv[1:]
    print(asyncio.run(main(base_url, float(patience), int(at_once), names)))
