"""Brings the broker's streams and consumers to what the manifest declares, and refuses what could destroy messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from runtime.bus.manifest import GIB, Drift, drifts, reserved
from runtime.bus.port import BusError, NotFound, Refused, StreamFull
from runtime.bus.replies import NO_CONSUMER, NO_STREAM

Call: TypeAlias = Callable[[str, Mapping[str, object]], Awaitable[dict[str, Any]]]
"""One call of the broker's API: operation without its prefix, JSON body; raises the port's errors."""


class Applier:
    """One pass over declared assets."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def ensure(self, assets: Sequence[Mapping[str, Any]], *, create: bool) -> list[str]:
        """See ``port.Bus.ensure``. Raises Refused before anything is changed if one change could destroy messages, and
        StreamFull, with what to change, if the broker has no room for what a stream reserves.
        """
        found = [(asset, await self._look(asset)) for asset in assets]
        lines = [line for asset, there in found for line in _lines(asset, there)]
        if not create:
            return lines
        dangers = [
            f"{_name(asset)}: {drift} ({drift.danger})"
            for asset, there in found
            if there is not None
            for drift in drifts(asset["config"], there)
            if drift.danger
        ]
        if dangers:
            raise Refused("the broker's streams differ in ways that are to be changed by hand: " + "; ".join(dangers))
        for asset, there in found:
            try:
                await self._apply(asset, there)
            except BusError as error:
                if asset["kind"] != "stream" or not _lacks_room(error):
                    raise
                raise StreamFull(f"{_no_room(asset, assets)} The broker says: {error}", code=error.code) from error
        return lines

    async def _look(self, asset: Mapping[str, Any]) -> dict[str, Any] | None:
        """The configuration at the broker, None if there is none."""
        config = asset["config"]
        if asset["kind"] == "stream":
            operation = f"STREAM.INFO.{config['name']}"
        else:
            operation = f"CONSUMER.INFO.{asset['stream']}.{config['name']}"
        try:
            there: dict[str, Any] = (await self._call(operation, {}))["config"]
        except NotFound as error:
            if error.code not in (NO_STREAM, NO_CONSUMER):
                raise
            return None
        return there

    async def _apply(self, asset: Mapping[str, Any], there: Mapping[str, Any] | None) -> None:
        config = asset["config"]
        if there is not None and not drifts(config, there):
            return
        body = {**(there or {}), **config}
        if asset["kind"] == "stream":
            await self._call(f"STREAM.{'CREATE' if there is None else 'UPDATE'}.{config['name']}", body)
        else:
            action = "create" if there is None else "update"
            request = {"stream_name": asset["stream"], "config": body, "action": action}
            await self._call(f"CONSUMER.CREATE.{asset['stream']}.{config['name']}", request)


def _lacks_room(error: BusError) -> bool:
    return isinstance(error, StreamFull) or "insufficient" in str(error)  # a cluster says it in words only


def _no_room(asset: Mapping[str, Any], assets: Sequence[Mapping[str, Any]]) -> str:
    config = asset["config"]
    needs = _gib(config.get("max_bytes", 0))
    if config.get("storage") == "memory":
        where, together, setting, else_ = "in memory", reserved(assets, "memory"), "max_memory_store", ""
    else:
        where, together, setting = "on its disk", reserved(assets, "file"), "max_file_store"
        else_ = ", on a disk that has it, or lower nats.max_queue_bytes"
    return (
        f"stream {config['name']}: the broker has no room {where} for the {needs} that it reserves. Together the"
        f" streams reserve {_gib(together)} there: raise jetstream.{setting} in the broker's configuration to at least"
        f" that{else_}."
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"


def _lines(asset: Mapping[str, Any], there: Mapping[str, Any] | None) -> list[str]:
    if there is None:
        return [f"{_name(asset)}: missing"]
    found: list[Drift] = drifts(asset["config"], there)
    return [f"{_name(asset)}: {drift}" for drift in found]


def _name(asset: Mapping[str, Any]) -> str:
    name = asset["config"]["name"]
    return f"stream {name}" if asset["kind"] == "stream" else f"consumer {asset['stream']}.{name}"
