"""What the services and the simulator are told: the operator's file, or the built-in one, with addresses filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from appliance.errors import WrongUse
from catalogue.load import CatalogueError
from catalogue.load import providers as catalogue_rows
from catalogue.places import Unfilled, settled
from job_contracts import subjects
from job_contracts.codec import ContractError
from runtime.config import ConfigError, load, parse
from runtime.gate import USER
from runtime.settings import Config

SERVICE_USER = "service"

BUILT_IN = """\
# Made by `appliance up --simulate` where no --config was given: three simulated providers, and routes over them.
providers:
  openai: {key: simulated}
  anthropic: {key: simulated}
  gemini: {key: simulated}
routes:
  fast: {deployments: [openai/gpt-5-mini, anthropic/claude-haiku-4-5, gemini/gemini-2.5-flash]}
  smart: {deployments: [anthropic/claude-sonnet-4-5, openai/gpt-5, gemini/gemini-2.5-pro]}
  cheap: {deployments: [gemini/gemini-2.5-flash, openai/gpt-5-mini, anthropic/claude-haiku-4-5]}
  precise: {deployments: [openai/gpt-4.1-mini, gemini/gemini-2.5-flash]}
  vectors: {deployments: [openai/text-embedding-3-small]}
projects:
  demo: {budget: {day: 5, soft: true}}  # only told of: nothing real is spent here
"""

NOTHING_TO_RUN = """\
There is no configuration, so there is no provider to call. Either:
  python -m appliance up --simulate                 with simulated providers: no key, no internet
  python -m appliance up --config penstock.yaml     with your own (examples/penstock.yaml is one to start from)\
"""

ALONE = {"lease": 4.0, "renew": 1.0}
"""A scheduler that nobody stands by for takes over sooner after a crash, unless the operator says otherwise."""

_SIMULATED_AS = {"openai_chat": "openai", "openai_responses": "openai", "anthropic": "anthropic", "gemini": "gemini"}
"""What the simulator calls a dialect."""

_SIMULATED_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,31}$")
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_]\w*)(?::-[^}]*)?\}")
_FILE_REFERENCE = re.compile(r"\$\$\{|\$\{file:([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's wishes: the file's plain values (references unresolved), checked, and the folder they refer to."""

    raw: dict[str, Any]
    config: Config
    folder: Path


@dataclass(frozen=True, slots=True)
class Simulated:
    """A provider that the simulator plays: its name here and there, its dialect there, the path its address ends in."""

    provider: str
    name: str
    dialect: str
    path: str


def operator(file: Path | None, *, simulate: bool) -> Operator:
    """Read the operator's file, or the built-in one.

    Raises:
        WrongUse: the file is wrong (with file, line and expected form), or there is none and nothing is simulated.
    """
    if file is None and not simulate:
        raise WrongUse(NOTHING_TO_RUN)
    try:
        if file is None:
            return Operator(yaml.safe_load(BUILT_IN), parse(BUILT_IN, name="built-in configuration"), Path())
        config = load(file)
        return Operator(yaml.safe_load(file.read_text(encoding="utf-8")), config, file.parent.resolve())
    except ConfigError as error:
        raise WrongUse(f"the configuration cannot be used:\n{error}") from error


def projects_of(file: Path) -> tuple[str, ...]:
    """The projects that a configuration names, without resolving or checking anything else in it.

    Raises:
        WrongUse: it cannot be read, or a project has a name that none can have.
    """
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongUse(f"the configuration cannot be used: {file}: {error}") from error
    named = raw.get("projects", {"default": {}}) if isinstance(raw, dict) else None
    if not isinstance(named, dict) or not named:
        raise WrongUse(f"{file}: projects: expected a mapping with at least one project")
    try:
        return tuple(subjects.check_token(str(name), "project") for name in named)
    except ContractError as error:
        raise WrongUse(f"{file}: projects: {error}") from error


def check_names(projects: Iterable[str]) -> None:
    """Raises WrongUse for a project that is called as a user of the broker's own file is."""
    for taken in {SERVICE_USER, USER} & set(projects):
        raise WrongUse(f"projects.{taken}: a name of the services; call the project otherwise")


def simulated(config: Config) -> tuple[Simulated, ...]:
    """The providers that the simulator is to play: those to which the configuration gives no address of their own.

    Raises:
        WrongUse: one of them is not in the catalogue, so that nobody knows how it speaks; or speaks what the simulator
            does not; or its address has a place that the configuration does not fill; or the catalogue is wrong.
    """
    try:
        rows = catalogue_rows(config.catalogue)
    except CatalogueError as error:
        raise WrongUse(f"the catalogue cannot be used: {error}") from error
    played: list[Simulated] = []
    for name, provider in config.providers.items():
        if provider.base_url is not None:
            continue
        row = rows.get(provider.catalogue or name)
        if row is None:
            raise WrongUse(f"providers.{name}: the catalogue does not know it; give its dialect and base_url")
        if row.dialect not in _SIMULATED_AS:
            raise WrongUse(f"providers.{name}: the simulator does not speak {row.dialect!r}; give it a base_url")
        try:
            row = settled(row, region=provider.region, variables=provider.variables)
        except Unfilled as error:
            raise WrongUse(str(error)) from error
        there = name if _SIMULATED_NAME.match(name) else f"provider-{len(played) + 1}"
        played.append(Simulated(name, there, _SIMULATED_AS[row.dialect], urlsplit(row.base_url).path.rstrip("/")))
    return tuple(played)


def simulator_settings(
    played: tuple[Simulated, ...], *, port: int, ports: Mapping[str, int], more: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The simulator's configuration; ``ports`` and ``more`` (further settings) by the provider's name here."""
    providers = [
        {"name": one.name, "dialect": one.dialect, "port": ports[one.provider], **more.get(one.provider, {})}
        for one in played
    ]
    return {"port": port, "providers": providers} if providers else {"port": port}


def effective(
    wishes: Operator,
    *,
    nats_url: str,
    password_file: Path,
    base_urls: Mapping[str, str],
    over: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
    ledger: Mapping[str, Any] | None = None,
) -> str:
    """The YAML that the services read: the operator's, the broker's address and the simulator's filled in.

    References to variables stay as they are: each process resolves them itself. Those to files become absolute, as does
    the folder of the operator's own catalogue.
    ``gateway`` are the edge's settings that the operator does not make; ``ledger`` are all of the ledger's.
    ``over`` replaces whole top-level sections, and single members of ``providers`` and ``scheduler``.
    """
    raw = _anchored(wishes.raw, wishes.folder)
    if wishes.config.catalogue is not None:
        raw["catalogue"] = str(wishes.config.catalogue.resolve())
    for name, value in (over or {}).items():
        raw[name] = {**(raw.get(name) or {}), **value} if name in {"providers", "scheduler"} else value
    for name, url in base_urls.items():
        raw["providers"][name] = {**(raw["providers"][name] or {}), "base_url": url}
    raw["scheduler"] = {**ALONE, **(raw.get("scheduler") or {})}
    if gateway is not None:
        raw["gateway"] = {**(raw.get("gateway") or {}), **gateway}
    if ledger is not None:
        raw["ledger"] = _anchored(dict(ledger), wishes.folder)
    password = f"${{file:{password_file}}}"
    raw["nats"] = {**(raw.get("nats") or {}), "url": nats_url, "user": SERVICE_USER, "password": password}
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


def credentials(wishes: Operator) -> dict[str, frozenset[str]]:
    """The environment variables that nothing but one provider's ``key`` names, by provider."""
    keys: dict[str, frozenset[str]] = {}
    others = dict(wishes.raw)
    providers = others.pop("providers")
    for name, provider in providers.items():
        rest = dict(provider or {})
        keys[name] = _variables(rest.pop("key", ""))
        others[f"providers.{name}"] = rest
    elsewhere = _variables(others)
    return {name: found - elsewhere for name, found in keys.items()}


def credentials_of_the_ledger(wishes: Operator) -> frozenset[str]:
    """The environment variables that nothing but the ledger's database and its alerts' secret names."""
    ledger = dict(wishes.raw.get("ledger") or {})
    alerts = dict(ledger.pop("alerts", None) or {})
    own = _variables([ledger.pop("database", ""), alerts.pop("secret", "")])
    return own - _variables({**wishes.raw, "ledger": {**ledger, "alerts": alerts}})


def absolute_database(database: str, folder: Path) -> str:
    """The same address, a relative file (beside the operator's configuration) with its whole path."""
    kind, _, place = database.partition(":///")
    if not kind.startswith("sqlite") or not place or place.startswith(("/", ":", "${")):
        return database
    return f"{kind}:///{folder / place}"


def _variables(value: Any) -> frozenset[str]:
    if isinstance(value, dict):
        return frozenset[str]().union(*map(_variables, value.values()))
    if isinstance(value, list):
        return frozenset[str]().union(*map(_variables, value))
    found = _VARIABLE.findall(value) if isinstance(value, str) else []
    return frozenset(name for name in found if name)


def _anchored(value: Any, folder: Path) -> Any:
    """The same values with every reference to a relative file made absolute."""
    if isinstance(value, dict):
        return {name: _anchored(one, folder) for name, one in value.items()}
    if isinstance(value, list):
        return [_anchored(one, folder) for one in value]
    if isinstance(value, str):
        return _FILE_REFERENCE.sub(lambda found: _absolute(found, folder), value)
    return value


def _absolute(found: re.Match[str], folder: Path) -> str:
    return found.group() if found.group(1) is None else f"${{file:{folder / found.group(1)}}}"
