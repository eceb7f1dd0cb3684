"""The settings file of the simulator."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from simulator.configuration import BadConfiguration, load
from simulator.settings import Limits, ModelSettings, Pace, Price, ProviderSettings, Settings

GOOD = """\
port: 8450
providers:
  - name: openai
    dialect: openai
    keys: [one, two]
    limits: {requests: 60, window: fixed}
    models:
      gpt-5: {pace: {ttft: 0.5}, group: big}
  - name: onprem
    dialect: openai
    price: {input: "0.05"}
"""


def test_a_good_file_becomes_settings(tmp_path: Path) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text(GOOD)
    settings = load(path)
    assert settings.port == 8450
    assert [one.name for one in settings.providers] == ["openai", "onprem"]
    assert settings.providers[0].limits == Limits(requests=60, window="fixed")
    assert settings.providers[1].price.input == Decimal("0.05")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text("")
    assert load(path) == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("requests: 60", "requests: 0"), r":6: providers\.0\.limits\.requests: .*greater than or equal"),
        (GOOD.replace("ttft: 0.5", "ttft: soon"), r":8: providers\.0\.models\.gpt-5\.pace\.ttft: .*valid number"),
        (GOOD.replace("keys:", "kees:"), r":5: providers\.0\.kees: Extra inputs"),
        (GOOD.replace("onprem", "openai"), r"two providers have the same name"),
        (GOOD.replace("dialect: openai\n    keys", "keys"), r":3: providers\.0\.dialect: Field required"),
        ("port: [", r"simulator\.yaml: .*line 1"),
        ("- 1", r"simulator\.yaml:1: the file: "),
    ],
)
def test_a_wrong_file_is_refused_with_the_line_and_what_is_expected(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text(text)
    with pytest.raises(BadConfiguration, match=f"(?s){words}"):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")


def test_a_model_without_settings_has_those_of_its_provider() -> None:
    own = ModelSettings(pace=Pace(ttft=1.0), group="big")
    provider = ProviderSettings(
        name="p", dialect="openai", models={"m": own}, price=Price(input=Decimal(9)), limits=Limits(requests=5)
    )
    assert provider.model("m").pace == Pace(ttft=1.0)
    assert provider.model("m").group == "big"
    assert provider.model("m").limits == provider.model("other").limits == Limits(requests=5)
    assert provider.model("m").price == Price(input=Decimal(9))
    assert provider.model("other").group == "other"
