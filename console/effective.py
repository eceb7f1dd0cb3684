"""The configuration as this process has it, with where each value comes from; read once, when the process starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from runtime.config import ConfigError, parse
from runtime.provenance import Row, explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.provenance import Place, Source
    from runtime.settings import Config


@dataclass(frozen=True, slots=True)
class Effective:
    """All values, and the file they are from."""

    rows: tuple[Row, ...]
    file: Path | None = None
    digest: str = ""
    """SHA-256 of the file's text as it was read; empty if it has changed while it was."""

    def changed(self) -> bool:
        """Whether the file is not any more what this process has read."""
        return self.file is not None and _digest(self.file) != self.digest


def made_up(config: Config) -> Effective:
    """Of a configuration that is from no file."""
    return Effective(explained(config, "", name="", environ={}))


def effective(config: Config, file: Path, *, nats: str | None, access: Path | None) -> Effective:
    """Of the configuration that was read from ``file``; ``nats`` and ``access``: what came from elsewhere."""
    over: dict[Place, tuple[Source, str]] = {}
    if nats:
        over["nats", "url"] = ("command line", "--nats")
    if access is not None:
        over |= {("gateway", name): ("access file", str(access)) for name in ("pepper", "admin_hash", "callout")}
    environ = os.environ  # noqa: TID251 - by name and whether they are set; no value is told
    try:
        text = file.read_text(encoding="utf-8")
        read = parse(text, name=file.name, folder=file.parent, credentials_of=())
        over |= _keys(read, config, access)
        rows = explained(config, text, name=file.name, environ=environ, over=over)
    except (OSError, UnicodeDecodeError, ConfigError, yaml.YAMLError):
        return Effective(made_up(config).rows, file)  # it has changed while this process was starting
    same = _without(read) == _without(config)
    return Effective(rows, file, sha256(text.encode()).hexdigest() if same else "")


def _keys(read: Config, config: Config, access: Path | None) -> Mapping[Place, tuple[Source, str]]:
    """The keys that the file of access names, rather than the configuration."""
    others = config.gateway.keys.keys() - read.gateway.keys.keys()
    return {("gateway", "keys", name): ("access file", str(access)) for name in others}


def _without(config: Config) -> Config:
    """What is from the file alone."""
    bare = config.gateway.model_copy(update={"keys": {}, "pepper": "", "admin_hash": "", "callout": None})
    nats = config.nats.model_copy(update={"url": ""})
    return config.model_copy(update={"gateway": bare, "nats": nats})


def _digest(file: Path) -> str:
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
