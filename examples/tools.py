"""A conversation with a tool: the model asks, we look it up, the model answers."""

import json
from typing import Any

from producer_sdk import SyncProducer

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "river_length",
            "description": "Length of a river in kilometres.",
            "parameters": {"type": "object", "properties": {"river": {"type": "string"}}, "required": ["river"]},
        },
    }
]
KILOMETRES = {"Rhine": 1_233, "Elbe": 1_094, "Loire": 1_006}


def look_up(arguments: str) -> str:
    river = json.loads(arguments).get("river", "")
    return f"{KILOMETRES[river]} km" if river in KILOMETRES else f"nothing is known of {river or 'it'}"


with SyncProducer() as producer:
    messages: list[Any] = [{"role": "user", "content": "Which is longer, the Rhine or the Elbe?"}]
    for _ in range(4):
        answer = producer.complete(model="smart", messages=messages, tools=TOOLS, deadline=60)
        if not answer.tool_calls:
            print(answer.text)
            break
        messages.append(answer.as_turn())
        for call in answer.tool_calls:
            print(f"[{call.name} {call.arguments}]")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": look_up(call.arguments)})
