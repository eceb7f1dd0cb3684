"""The inside of the process that judges what may take long: requests come on its input, verdicts leave by its output.

It holds no credential, opens nothing, and is killed by whoever asked when an answer takes too long. Its own bounds are
for the case that nobody is there any more to do so.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from workers.answers.judging import Check, Unusable, compiled, judge

__all__ = ["LENGTH", "main"]

LENGTH = 4
"""Bytes before each message that say how long it is."""
_KEPT = 256
_MEMORY = 1024 * 1024 * 1024
"""Bytes of addresses it may use."""
_SECONDS = 20
"""Of the processor for one request."""


def main() -> None:
    """Answer until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, most))
    known: OrderedDict[str, Check] = OrderedDict()
    while (request := _read(sys.stdin.buffer)) is not None:
        _bound_time()
        answer = json.dumps(_answer(request, known)).encode()
        sys.stdout.buffer.write(len(answer).to_bytes(LENGTH, "big") + answer)
        sys.stdout.buffer.flush()


def _read(source: BinaryIO) -> dict[str, Any] | None:
    head = source.read(LENGTH)
    if len(head) < LENGTH:
        return None
    body = source.read(int.from_bytes(head, "big"))
    found: dict[str, Any] = json.loads(body)
    return found


def _bound_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + _SECONDS, most))


def _answer(request: dict[str, Any], known: OrderedDict[str, Check]) -> dict[str, Any]:
    key = request["key"]
    check = known.get(key)
    if check is None:
        try:
            check = known[key] = compiled(json.loads(request["schema"]))
        except Unusable as error:
            return {"unusable": str(error)}
        if len(known) > _KEPT:
            known.popitem(last=False)
    if request["text"] is None:
        return {}
    verdict = judge(check, request["text"], repair=request["repair"], nulls=request["nulls"])
    return {"text": verdict.text, "repairs": verdict.repairs, "complaint": verdict.complaint}
