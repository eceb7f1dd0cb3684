"""The inside of the process that judges what may take long: requests come on its input, verdicts leave by its output.

It holds no credential and opens nothing. A request that takes more of the processor than it may ends it: whoever asked
sees its output end.
"""

from __future__ import annotations

import json
import resource
import signal
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


def main() -> None:
    """Answer until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, most))
    known: OrderedDict[str, Check] = OrderedDict()
    while (request := _read(sys.stdin.buffer)) is not None:
        # Ends the process, wherever it is, once it has used so much: nobody handles the signal.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        answer = json.dumps(_answer(request, known)).encode()
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        sys.stdout.buffer.write(len(answer).to_bytes(LENGTH, "big") + answer)
        sys.stdout.buffer.flush()


def _read(source: BinaryIO) -> dict[str, Any] | None:
    head = source.read(LENGTH)
    if len(head) < LENGTH:
        return None
    body = source.read(int.from_bytes(head, "big"))
    found: dict[str, Any] = json.loads(body)
    return found


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
