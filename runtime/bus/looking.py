"""One stored message: from its stream's leader, or from any node that holds a copy."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from runtime.bus.asking import answered, ask, look, patiences
from runtime.bus.link import NO_RESPONDERS, Link
from runtime.bus.port import Message, OutcomeUnknown

DOUBT = 10.0
"""Seconds for which leaders are asked first after a copy did not answer.

The broker chooses the copy, and goes on choosing a node that stands still until it has noticed: of three nodes every
third question is lost. A leader that stands still is succeeded within seconds.
"""
_SUBJECT, _SEQ = "Nats-Subject", "Nats-Sequence"


class Lookup:
    """Questions after single messages, over one connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._no_direct: set[str] = set()
        self._doubted_until = 0.0

    async def leaders(self, stream: str, query: Mapping[str, object]) -> Message:
        """The leader's word. Raises NotFound, else as ``port.Bus.append`` does."""
        operation = f"STREAM.MSG.GET.{stream}"
        return _stored(answered(await look(self._link, operation, query, self._within), operation))

    async def anyones(self, stream: str, query: Mapping[str, object]) -> Message | None:
        """From whoever has it; None if the copy that was asked has it not, or the stream does not offer it.

        Copy and leader are asked in turns until one of them answers. Raises NotFound if that is a leader without it.
        """
        if stream in self._no_direct:
            return None
        by_copy = asyncio.get_running_loop().time() >= self._doubted_until
        error: OutcomeUnknown | None = None
        for within in patiences(self._within):
            try:
                if by_copy:
                    return await self._copys(stream, query, within)
                operation = f"STREAM.MSG.GET.{stream}"
                return _stored(answered(await ask(self._link, operation, query, within), operation))
            except OutcomeUnknown as silence:
                error = silence
                if by_copy:
                    self._doubted_until = asyncio.get_running_loop().time() + DOUBT
                by_copy = not by_copy
        assert error is not None  # noqa: S101 - each way round the loop returns or raises
        raise error

    async def _copys(self, stream: str, query: Mapping[str, object], within: float) -> Message | None:
        answer = await ask(self._link, f"DIRECT.GET.{stream}", query, within)
        headers = answer.headers or {}
        seq = headers.get(_SEQ)
        if seq is None:
            if answer.status == NO_RESPONDERS:
                await self._learn(stream)
            return None
        return Message(headers[_SUBJECT], answer.data, headers, int(seq))

    async def _learn(self, stream: str) -> None:
        operation = f"STREAM.INFO.{stream}"
        info = answered(await ask(self._link, operation, {}, self._within), operation)
        if not info["config"].get("allow_direct"):
            self._no_direct.add(stream)

    @property
    def _within(self) -> float:
        return self._link.settings.api_timeout


def _stored(info: Mapping[str, Any]) -> Message:
    stored = info["message"]
    headers = _headers(b64decode(stored["hdrs"])) if stored.get("hdrs") else None
    return Message(stored["subject"], b64decode(stored.get("data") or ""), headers, stored["seq"])


def _headers(raw: bytes) -> dict[str, str]:
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name: value.strip() for name, _, value in pairs}
