"""Counting tokens: speed of the estimate and of each vocabulary, and what a job pays: ``python -m benchmarks.tokens``.

The text is this repository's own code and pages. "Cold" is the first time a text is seen, "again" a repetition, which
the library answers from its cache in part.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from pathlib import Path
from typing import get_args

from catalogue.rows import ModelRow, ProviderRow
from catalogue.tokens import Vocabulary
from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation
from job_contracts.estimates import text_tokens
from workers.dialects import tokens
from workers.dialects.port import Target
from workers.fitting import Fitting
from workers.vocabularies import counter

ROOT = Path(__file__).resolve().parents[1]


def corpus() -> list[str]:
    """Text in pieces, as a conversation is counted."""
    paths = sorted([*ROOT.glob("*/*.py"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/unit/**/*.py")])
    text = "\n".join(path.read_text("utf-8") for path in paths)
    return [text[at : at + tokens.PIECE] for at in range(0, len(text), tokens.PIECE)]


def seconds(pieces: list[str], count: object) -> float:
    """CPU of counting all pieces once."""
    start = time.process_time()
    for piece in pieces:
        count(piece)  # type: ignore[operator]
    return time.process_time() - start


def conversation(characters: int) -> Conversation:
    """Turns of 1 KB."""
    text = ("The quick brown fox jumps over the lazy dog. " * 30)[:1024]
    turns = [{"role": "user", "content": text}] * max(1, characters // 1024)
    return Conversation.model_validate({"messages": turns})


async def fitted(size: int, window: int | None, rounds: int) -> float:
    """Microseconds of CPU of looking at one conversation of ``size`` characters."""
    row = ProviderRow(name="p", dialect="openai_chat", base_url="https://p.example")
    target = Target(row, ModelRow(name="m", context_window=window))
    asked = conversation(size)
    grant = {"domain": "p", "input_tokens": 1, "output_tokens": 1, "valid_for": 5.0, "granted": 0.0}
    order = Assignment.model_validate(
        {
            "job_id": "a-b",
            "project": "p",
            "attempt": 1,
            "deployment": "p/m",
            "provider": "p",
            "model": "m",
            "grant": grant,
            "route": "r",
            "token": "t",
            "body_hash": "h",
            "submitted": 0.0,
            "epoch": 1,
        }
    )
    fitting = Fitting()
    await fitting.fit(asked, target, order)
    start = time.process_time()
    for _ in range(rounds):
        await fitting.fit(asked, target, order)
    return (time.process_time() - start) / rounds * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="times each conversation is looked at")
    rounds = parser.parse_args().rounds
    pieces = corpus()
    size = sum(map(len, pieces)) / 1e6
    print(f"{size:.2f} MB of code and pages")
    print(f"{'':<14}{'load ms':>9}{'cold MB/s':>11}{'again MB/s':>12}{'characters a token':>20}")
    spent, estimated = seconds(pieces, text_tokens), sum(map(text_tokens, pieces))
    print(f"{'by characters':<14}{'':>9}{size / spent:>11.0f}{'':>12}{size * 1e6 / estimated:>20.2f}")
    for vocabulary in get_args(Vocabulary):
        start = time.process_time()
        count = counter(vocabulary).count
        load = (time.process_time() - start) * 1e3
        cold, again = (seconds(pieces, count) for _ in range(2))
        found = sum(map(count, pieces))
        print(f"{vocabulary:<14}{load:>9.0f}{size / cold:>11.1f}{size / again:>12.1f}{size * 1e6 / found:>20.2f}")
    print("what a job pays before its call, in microseconds of CPU:")
    for characters in (1_024, 16_384, 262_144):
        about = tokens.estimate(conversation(characters))
        for words, window in (("unknown", None), ("far larger", about * 10), ("1.5 times as large", about * 3 // 2)):
            paid = asyncio.run(fitted(characters, window, rounds))
            print(f"  {characters // 1024:>4} KB, window {words:<20}{paid:>10.1f}")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB, all vocabularies loaded")


if __name__ == "__main__":
    main()
