"""What the services are told: the operator's file with addresses filled in, or a clear word about what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from appliance import configuration
from appliance.configuration import effective, operator, projects_of, simulated, simulator_settings
from appliance.errors import WrongUse
from runtime.config import load

FILE = """
providers:
  openai: {key: "${file:secrets/openai}", limits: {rpm: 60}}
  anthropic:
  Mine: {dialect: openai_chat, base_url: "http://127.0.0.1:9/v1", key: "$${literal}"}
routes:
  fast: {deployments: [openai/gpt-5-mini, Mine/small]}
projects:
  research: {routes: [fast]}
  ops: {}
nats: {max_queue_bytes: 1000000, url: "nats://elsewhere:4222"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "openai").write_text("sk-secret\n")
    path = tmp_path / "penstock.yaml"
    path.write_text(FILE.replace("anthropic:", "anthropic: {}"))
    return path


def test_without_a_file_and_without_the_simulator_there_is_a_way_to_go_on() -> None:
    with pytest.raises(WrongUse, match=r"--simulate(.|\n)*--config penstock\.yaml"):
        operator(None, simulate=False)


def test_the_built_in_configuration_orders_three_providers_differently_for_each_route() -> None:
    config = operator(None, simulate=True).config
    firsts = {route.deployments[0].partition("/")[0] for route in config.routes.values()}
    assert firsts == set(config.providers) == {"openai", "anthropic", "gemini"}
    assert {"fast", "smart", "cheap"} <= set(config.routes)
    assert list(config.projects) == ["demo"]


def test_a_wrong_file_is_refused_with_file_line_and_expectation(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("providers:\n  openai: {key: x, limit: {}}\nroutes: {fast: {deployments: [openai/x]}}\n")
    with pytest.raises(WrongUse, match=r"penstock\.yaml:2:\d+.*limits"):
        operator(path, simulate=False)


def test_what_the_services_read_is_the_operators_file_with_the_broker_filled_in(file: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    password = tmp_path / "data" / "service.password"
    password.write_text("pass word\n")
    target = tmp_path / "data" / "penstock.yaml"
    target.write_text(
        effective(operator(file, simulate=False), nats_url="nats://127.0.0.1:1", password_file=password, base_urls={})
    )
    config = load(target)
    assert config.providers["openai"].key.get_secret_value() == "sk-secret"
    assert config.providers["Mine"].key.get_secret_value() == "${literal}"
    assert (config.nats.url, config.nats.user) == ("nats://127.0.0.1:1", "service")
    assert config.nats.password is not None
    assert config.nats.password.get_secret_value() == "pass word"
    assert config.nats.max_queue_bytes == 1_000_000
    assert "sk-secret" not in target.read_text()
    assert "pass word" not in target.read_text()


def test_variables_stay_for_the_process_that_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("providers: {openai: {key: '${A_KEY}'}}\nroutes: {fast: {deployments: [openai/x]}}\n")
    monkeypatch.setenv("A_KEY", "sk-secret")
    text = effective(operator(path, simulate=False), nats_url="nats://x:1", password_file=tmp_path, base_urls={})
    assert "${A_KEY}" in text
    assert "sk-secret" not in text


def test_the_own_catalogue_counts_and_its_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "acme.toml").write_text('dialect = "anthropic"\nbase_url = "https://acme.invalid/v9"\n')
    path = tmp_path / "penstock.yaml"
    path.write_text(
        "catalogue: mine\nproviders: {acme: {key: k}}\nroutes: {fast: {deployments: [acme/x]}}\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    wishes = operator(Path("penstock.yaml"), simulate=True)
    assert [(one.provider, one.dialect, one.path) for one in simulated(wishes.config)] == [("acme", "anthropic", "/v9")]
    text = effective(wishes, nats_url="nats://x:1", password_file=tmp_path, base_urls={})
    assert yaml.safe_load(text)["catalogue"] == str((tmp_path / "mine").resolve())
    (tmp_path / "mine" / "acme.toml").write_text("colour = 1\n")
    with pytest.raises(WrongUse, match=r"catalogue cannot be used: .*acme\.toml"):
        simulated(wishes.config)


def test_the_simulator_plays_the_providers_without_an_address_of_their_own(file: Path) -> None:
    played = simulated(operator(file, simulate=True).config)
    assert [(one.provider, one.dialect, one.path) for one in played] == [
        ("openai", "openai", "/v1"),
        ("anthropic", "anthropic", "/v1"),
    ]


def test_a_provider_may_have_a_name_that_the_simulator_cannot_have(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(
        "providers: {OpenAI-EU: {key: x, catalogue: openai}}\nroutes: {fast: {deployments: [OpenAI-EU/gpt-5-mini]}}\n"
    )
    played = simulated(operator(path, simulate=True).config)
    settings = simulator_settings(played, port=1, ports={"OpenAI-EU": 2}, more={})
    assert settings == {"port": 1, "providers": [{"name": "provider-1", "dialect": "openai", "port": 2}]}


def test_a_provider_that_nobody_knows_cannot_be_played(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("providers: {unheard: {key: x}}\nroutes: {fast: {deployments: [unheard/x]}}\n")
    with pytest.raises(WrongUse, match=r"providers\.unheard: .*dialect and base_url"):
        simulated(operator(path, simulate=True).config)


def test_a_provider_that_the_simulator_cannot_play_needs_an_address(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "odd.toml").write_text('dialect = "ollama"\nbase_url = "http://odd.invalid"\n')
    path = tmp_path / "penstock.yaml"
    path.write_text("catalogue: mine\nproviders: {odd: {key: x}}\nroutes: {fast: {deployments: [odd/x]}}\n")
    with pytest.raises(WrongUse, match=r"providers\.odd: the simulator does not speak 'ollama'"):
        simulated(operator(path, simulate=True).config)


def test_single_members_can_be_laid_over_the_operators_file(tmp_path: Path) -> None:
    over = {
        "providers": {"gemini": {"key": "k", "limits": {"rpm": 6}}},
        "routes": {"only": {"deployments": ["gemini/x"]}},
    }
    text = effective(
        operator(None, simulate=True),
        nats_url="nats://x:1",
        password_file=tmp_path,
        base_urls={"gemini": "http://127.0.0.1:5/v1beta"},
        over=over,
    )
    raw = yaml.safe_load(text)
    assert set(raw["providers"]) == {"openai", "anthropic", "gemini"}
    assert raw["providers"]["gemini"] == {"key": "k", "limits": {"rpm": 6}, "base_url": "http://127.0.0.1:5/v1beta"}
    assert raw["routes"] == over["routes"]


def test_the_projects_of_a_file_are_read_without_what_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("nats: {password: '${file:/not/there/yet}'}\nprojects: {a: {}, b-2: {}}\n")
    assert projects_of(path) == ("a", "b-2")
    path.write_text("nats: {}\n")
    assert projects_of(path) == ("default",)


@pytest.mark.parametrize("text", ["projects: {'a b': {}}", "projects: []", "projects: {}", "{", "projects: {a.b: {}}"])
def test_projects_that_cannot_be_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(text)
    with pytest.raises(WrongUse, match=r"penstock\.yaml"):
        projects_of(path)


CONFIGURATIONS = (
    "deploy/penstock.yaml",
    "deploy/penstock.cluster.yaml",
    "deploy/penstock.simulated.yaml",
    "examples/penstock.yaml",
    "examples/hybrid.yaml",
)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_configurations_that_come_along_are_right(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(configuration.__file__).parents[1]
    text = re.sub(r"\$\{file:/[a-z-]*keys/[a-z]+\.password\}", "x", (root / name).read_text())
    copy = tmp_path / "penstock.yaml"
    copy.write_text(text)
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "ONPREM_API_KEY"):
        monkeypatch.setenv(variable, "x")
    assert load(copy).routes
