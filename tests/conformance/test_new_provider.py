"""The walk of CONTRIBUTING, "Add a provider": one file, and it is known, spoken to, listed and priced."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr
from typer.testing import CliRunner

from catalogue.load import providers
from catalogue.prices import cost_of
from catalogue.quirks import quirks_of
from job_contracts.chat import Conversation, Usage
from job_contracts.failures import FailureKind
from producer_sdk.cli.app import app
from runtime.config import load
from scheduler.policy.resolving import rules_from
from tests.architecture.tree import ROOT
from tests.unit.dialects.samples import DOCUMENTS, STREAMS
from workers.auth import credentials
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target


def written_in_contributing() -> str:
    """The file as the walk shows it."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = page.partition("## Add a provider")[2].partition("\n## ")[0]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found, "the walk shows no file"
    return found.group(1)


def test_an_openai_compatible_provider_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(written_in_contributing(), "utf-8")
    row = providers(tmp_path)["acme"]

    # It is known, and so is where a family of its models departs from the standard form.
    model = row.model("acme-large-2")
    assert (row.dialect, model.context_window, model.max_output) == ("openai_chat", 131_072, 8_192)
    assert quirks_of(row, model).max_tokens_field == "max_completion_tokens"

    # It is spoken to.
    conversation = Conversation.model_validate(
        {"messages": [{"role": "user", "content": "Hello"}], "settings": {"max_tokens": 20, "seed": 1}}
    )
    target = Target(row, model)
    encoded = DIALECTS[row.dialect].encode(conversation, target)
    body = json.loads(encoded.body)
    assert encoded.path == "/chat/completions"
    assert (body["model"], body["max_completion_tokens"]) == ("acme-large-2", 20)
    assert [loss.field for loss in encoded.losses] == ["settings.seed"]
    assert credentials(row, SecretStr("k1")) == {"authorization": "Bearer k1"}

    # Its answers and its own errors are understood.
    for wire, kind in ((DOCUMENTS, "application/json"), (STREAMS, "text/event-stream")):
        decoder = DIALECTS[row.dialect].decoder(target, content_type=kind)
        decoder.feed(wire[row.dialect])
        answer = decoder.finish()
        assert isinstance(answer, Decoded)
        assert answer.answer.text == "Héllo 👋"
    refusal = json.dumps({"error": {"code": "E42", "message": "nope"}}).encode()
    assert DIALECTS[row.dialect].failure(target, 400, {}, refusal).kind is FailureKind.QUOTA_EXHAUSTED

    # What it costs is known.
    at = datetime(2026, 11, 28, tzinfo=UTC)
    assert cost_of(Usage(input=1_000_000, output=100_000), row.prices("acme-large-2"), at) == Decimal("0.65")


def test_it_is_listed_and_takes_part_in_routes(tmp_path: Path) -> None:
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "acme.toml").write_text(written_in_contributing(), "utf-8")
    (tmp_path / "penstock.yaml").write_text(
        "catalogue: providers\nproviders: {acme: {key: k1}}\nroutes: {fast: {deployments: [acme/acme-large-2]}}\n"
    )
    listed = CliRunner().invoke(app, ["models", "acme", "--catalogue", str(tmp_path / "providers"), "--json"])
    assert [json.loads(line)["model"] for line in listed.stdout.splitlines()] == ["acme-large-2"]

    config = load(tmp_path / "penstock.yaml")
    rules = rules_from(config, providers(config.catalogue))
    deployment = rules.deployments["acme/acme-large-2"]
    assert (deployment.window, deployment.capabilities) == (131_072, frozenset({"tools", "json_schema", "system"}))
