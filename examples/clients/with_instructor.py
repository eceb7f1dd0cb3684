"""Instructor: answers as validated models, in each of the ways in which it asks for them."""

import instructor
from openai import OpenAI
from pydantic import BaseModel, Field


class Reading(BaseModel):
    place: str
    degrees: float = Field(ge=-90, le=60)


messages = [{"role": "user", "content": "Bergen has 11.5 degrees."}]

for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON):
    client = instructor.from_openai(OpenAI(), mode=mode)
    reading = client.chat.completions.create(model="fast", response_model=Reading, messages=messages)
    print(f"{mode.value}:", repr(reading))

client = instructor.from_openai(OpenAI())
parts = list(client.chat.completions.create_partial(model="fast", response_model=Reading, messages=messages))
print("streamed:", parts[-1].place, parts[-1].degrees)

several = client.chat.completions.create(model="fast", response_model=list[Reading], messages=messages)
print("several:", len(several), repr(several[0]))
