"""What the OpenAI routes say of themselves, beside chat: embeddings, models, files, batches."""

from __future__ import annotations

from typing import Any, get_args

from gateway.bodies.openai_batches import LONGEST_VALUE, MOST_PAIRS, WINDOWS
from gateway.bodies.openai_files import LONGEST, MOST, PURPOSES, SHORTEST
from gateway.bodies.openai_schemas import MODEL as ROUTE
from gateway.bodies.openapi import JSON, About, Parameter, Schema, Told
from job_contracts.embeddings import MOST_INPUTS, Purpose

BYTES: Schema = {"type": "string", "format": "binary"}
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_WHOLE: dict[str, Any] = {"type": "integer"}
_MAYBE: dict[str, Any] = {"type": ["integer", "null"]}


def fixed(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer's object that always has these fields."""
    return {"type": "object", "required": sorted(required), "properties": {**required, **more}}


def listed(of: dict[str, Any]) -> dict[str, Any]:
    """A list's page."""
    page = {"object": {"const": "list"}, "data": {"type": "array", "items": of}}
    return fixed(page, has_more={"type": "boolean"})


def deleted(kind: str) -> dict[str, Any]:
    """The answer to a deletion."""
    return fixed({"id": {"type": "string"}, "object": {"const": kind}, "deleted": {"const": True}})


AFTER = Parameter("after", "query", "The last id of the page before.")
ORDER = Parameter("order", "query", "By the moment they were made.", {"enum": ["asc", "desc"]})


def limit(most: int) -> Parameter:
    """How many one page may have."""
    return Parameter("limit", "query", "Entries of one page.", {"type": "integer", "minimum": 1, "maximum": most})


# -- embeddings and models

EMBEDDINGS = About(
    "Vectors of texts",
    "embeddings",
    {
        200: Told(
            "The vectors, in the order of the texts.",
            {
                JSON: fixed(
                    {
                        "object": {"const": "list"},
                        "model": {"type": "string"},
                        "usage": fixed({"prompt_tokens": _WHOLE, "total_tokens": _WHOLE}),
                        "data": {
                            "type": "array",
                            "items": fixed(
                                {
                                    "object": {"const": "embedding"},
                                    "index": _WHOLE,
                                    "embedding": {"type": ["array", "string"]},
                                }
                            ),
                        },
                    }
                )
            },
        )
    },
    body={
        "type": "object",
        "required": ["model", "input"],
        "additionalProperties": False,
        "properties": {
            "model": ROUTE,
            "input": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_INPUTS}]},
            "dimensions": {"type": ["integer", "null"], "minimum": 1, "maximum": 65_536},
            "encoding_format": {"enum": ["float", "base64", None]},
            "purpose": {"enum": [*get_args(Purpose), None], "description": "What they are for; ours."},
            "user": {"description": "Taken, and without effect here."},
        },
    },
    submits=True,
)
_MODEL: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "object": {"const": "model"}, "type": {"const": "model"}},
}
MODELS = About(
    "The routes this key may use",
    "models",
    {
        200: Told(
            "All of them; for whoever sends anthropic-version a page of them, in Anthropic's words.",
            {JSON: fixed({"data": {"type": "array", "items": _MODEL}})},
        )
    },
    parameters=(
        Parameter("anthropic-version", "header", "Asks for Anthropic's words."),
        Parameter("limit", "query", "Entries of a page, in Anthropic's words."),
        Parameter("after_id", "query", "The last id of the page before, in Anthropic's words."),
        Parameter("before_id", "query", "The first id of the page behind, in Anthropic's words."),
    ),
    errors=(400,),
)
MODEL = About("One route", "models", {200: Told("It may be used.", {JSON: _MODEL})})


# -- files

_FILE = fixed(
    {
        "id": {"type": "string"},
        "object": {"const": "file"},
        "bytes": _WHOLE,
        "created_at": _WHOLE,
        "filename": {"type": "string"},
        "purpose": {"type": "string"},
        "status": {"type": "string"},
    },
    expires_at=_MAYBE,
)
_FOUND = Told("The file, without its content.", {JSON: _FILE})
FILE_UPLOAD = About(
    "Upload a file",
    "files",
    {200: _FOUND},
    media="multipart/form-data",
    body={
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "file": BYTES,
            "purpose": {"enum": [*PURPOSES]},
            "expires_after[anchor]": {"const": "created_at"},
            "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
        },
    },
    errors=(507,),
    description="A form whose part `file` is the content; stored while it arrives.",
)
FILE_LIST = About(
    "The project's files",
    "files",
    {200: Told("A page of them.", {JSON: listed(_FILE)})},
    parameters=(limit(MOST), AFTER, ORDER, Parameter("purpose", "query", "Those for this alone.")),
    errors=(400,),
)
FILE = About("One file", "files", {200: _FOUND})
FILE_DELETE = About("Delete a file", "files", {200: Told("It is gone.", {JSON: deleted("file")})})
FILE_CONTENT = About(
    "A file's content",
    "files",
    {
        200: Told("All of it.", {"application/octet-stream": BYTES}),
        206: Told("A range.", {"application/octet-stream": BYTES}),
    },
    parameters=(
        Parameter("range", "header", "bytes=from-to: a part of it (RFC 9110)."),
        Parameter("if-range", "header", "The etag of the content that the range is of."),
    ),
    errors=(416,),
    description="Of a batch that goes on, the lines that are there.",
)


# -- batches

_BATCH = fixed(
    {
        "id": {"type": "string"},
        "object": {"const": "batch"},
        "endpoint": {"type": "string"},
        "input_file_id": {"type": "string"},
        "completion_window": {"enum": [*WINDOWS]},
        "status": {
            "enum": [
                "validating",
                "failed",
                "in_progress",
                "finalizing",
                "completed",
                "expired",
                "cancelling",
                "cancelled",
            ]
        },
        "output_file_id": {"type": ["string", "null"]},
        "error_file_id": {"type": ["string", "null"]},
        "created_at": _WHOLE,
        "request_counts": fixed({"total": _WHOLE, "completed": _WHOLE, "failed": _WHOLE}),
    },
    expires_at=_MAYBE,
    metadata={"type": ["object", "null"]},
)
_STANDS = Told("The batch, as it stands.", {JSON: _BATCH})
BATCH = About("One batch", "batches", {200: _STANDS})
BATCH_CANCEL = About("Call a batch off", "batches", {200: _STANDS}, errors=(409,))
BATCH_LIST = About(
    "The project's batches",
    "batches",
    {200: Told("A page of them.", {JSON: listed(_BATCH)})},
    parameters=(limit(100), AFTER, ORDER),
    errors=(400,),
)


def batch_create(endpoints: tuple[str, ...]) -> About:
    """What a batch may be made of."""
    expiry = {
        "type": ["object", "null"],
        "required": ["anchor", "seconds"],
        "properties": {
            "anchor": {"const": "created_at"},
            "seconds": {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
        },
    }
    return About(
        "Begin a batch",
        "batches",
        {200: _STANDS},
        body={
            "type": "object",
            "required": ["input_file_id", "endpoint", "completion_window"],
            "additionalProperties": False,
            "properties": {
                "input_file_id": _TEXT,
                "endpoint": {"enum": [*endpoints]},
                "completion_window": {"enum": [*WINDOWS]},
                "metadata": {
                    "type": ["object", "null"],
                    "maxProperties": MOST_PAIRS,
                    "additionalProperties": {"type": "string", "maxLength": LONGEST_VALUE},
                },
                "output_expires_after": expiry,
            },
        },
        submits=True,
        description="Many requests out of a file, answered in the background; each input line has one output line.",
    )
