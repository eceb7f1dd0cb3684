"""The files that are written from the code. ``python -m tests.support.generated`` (``make fix``) writes them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from job_contracts import messages
from runtime.settings import Config
from tests.support.docstrings import models_in, said_of
from tests.support.tables import GENERATED, filled

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = "job_contracts/schema"
REFERENCE = "docs/reference"
CONFIGURATION = f"{REFERENCE}/penstock.schema.json"

_REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""Wherever a number or a word is asked for, the configuration may refer to a variable or a file."""


def generated() -> dict[str, str]:
    """The text of every generated file, by its path below the root."""
    files = {}
    for name, kind in messages.MESSAGES.items():
        files[f"{SCHEMAS}/{name}.json"] = _text(_described(messages.schema(name), kind))
    configuration = _described(Config.model_json_schema(mode="validation"), Config)
    files[CONFIGURATION] = _text(_referable({"$schema": messages.DRAFT, **configuration}))
    for page in sorted((ROOT / REFERENCE).glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if GENERATED.search(text):
            files[f"{REFERENCE}/{page.name}"] = filled(text)
    return files


def write(root: Path = ROOT) -> list[str]:
    """Write what differs and remove schemas of messages there are no longer; returns the paths that changed."""
    files = generated()
    changed = []
    for path, text in files.items():
        place = root / path
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
            changed.append(path)
    for stale in sorted(set(_committed_schemas(root)) - set(files)):
        (root / stale).unlink()
        changed.append(stale)
    return changed


def _committed_schemas(root: Path) -> list[str]:
    return [f"{SCHEMAS}/{path.name}" for path in (root / SCHEMAS).glob("*.json")]


def outdated(root: Path = ROOT) -> list[str]:
    """Generated files that are missing, differ, or are no longer generated."""
    files = generated()
    differ = [
        path
        for path, text in files.items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]
    return sorted({*differ, *(set(_committed_schemas(root)) - set(files))})


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _described(schema: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """The schema with the fields' docstrings as descriptions, and the classes' on one line."""
    kinds = models_in(kind)
    for name, part in [(kind.__name__, schema), *schema.get("$defs", {}).items()]:
        if "description" in part:
            part["description"] = " ".join(part["description"].split())
        if name not in kinds:
            continue
        for field, said in said_of(kinds[name]).items():
            if field in part.get("properties", {}):
                part["properties"][field]["description"] = said
    return schema


def _referable(part: Any) -> Any:
    """The schema in which every number, flag and choice may also be a reference such as ``${NAME}``."""
    if isinstance(part, list):
        return [_referable(member) for member in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") in {"number", "integer", "boolean"} or ("enum" in part and part.get("type") == "string"):
        kept = {key: part[key] for key in ("title", "description", "default") if key in part}
        return {**kept, "anyOf": [{key: value for key, value in part.items() if key not in kept}, _REFERENCE]}
    return {
        key: value if key in {"default", "required", "pattern"} else _referable(value) for key, value in part.items()
    }


if __name__ == "__main__":
    for written in write():
        print(f"written: {written}")
