"""The configuration file: what it may say, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import ConfigError, Problem, load, parse
from runtime.settings import Config

MINIMAL = """\
providers:
  openai: {key: "${OPENAI_KEY}"}
routes:
  fast: {deployments: [openai/gpt-5-mini]}
"""
ENVIRON = {"OPENAI_KEY": "sk-very-secret"}


def problems(text: str, environ: dict[str, str] | None = None, folder: Path | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as refused:
        parse(text, name="p.yaml", environ=ENVIRON if environ is None else environ, folder=folder)
    return refused.value.problems


def the_problem(text: str, environ: dict[str, str] | None = None) -> Problem:
    (problem,) = problems(text, environ)
    return problem


def test_a_variable_is_filled_in() -> None:
    config = parse(MINIMAL, environ=ENVIRON)
    assert config.providers["openai"].key.get_secret_value() == "sk-very-secret"


def test_a_variable_with_a_default_needs_not_be_set() -> None:
    text = MINIMAL + 'nats: {url: "nats://${HOST:-127.0.0.1}:${PORT:-4222}"}\n'
    assert parse(text, environ={**ENVIRON, "PORT": "5222", "HOST": ""}).nats.url == "nats://127.0.0.1:5222"


def test_a_number_may_come_from_the_environment() -> None:
    text = MINIMAL + "nats: {replicas: 1, result_ttl: '${TTL}'}\n"
    assert parse(text, environ={**ENVIRON, "TTL": "600"}).nats.result_ttl == 600


def test_a_secret_of_digits_stays_text() -> None:
    assert parse(MINIMAL, environ={"OPENAI_KEY": "0123"}).providers["openai"].key.get_secret_value() == "0123"


def test_a_doubled_dollar_is_a_plain_one() -> None:
    config = parse(MINIMAL.replace("${OPENAI_KEY}", "$${OPENAI_KEY} $5"), environ={})
    assert config.providers["openai"].key.get_secret_value() == "${OPENAI_KEY} $5"


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-the-file\n")
    for place in ("key", str(tmp_path / "key")):
        config = parse(MINIMAL.replace("${OPENAI_KEY}", f"${{file:{place}}}"), folder=tmp_path, environ={})
        assert config.providers["openai"].key.get_secret_value() == "from-the-file"


def test_a_file_is_loaded_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(MINIMAL.replace("${OPENAI_KEY}", "${file:key}"))
    (tmp_path / "key").write_text("k")
    assert isinstance(load(path, environ={}), Config)


def test_the_folder_of_the_own_catalogue_begins_at_the_configurations_folder(tmp_path: Path) -> None:
    text = "providers: {openai: {key: k}}\nroutes: {fast: {deployments: [openai/x]}}\n"
    path = tmp_path / "penstock.yaml"
    path.write_text(f"catalogue: mine\n{text}", encoding="utf-8")
    assert load(path).catalogue == tmp_path / "mine"
    path.write_text(f"catalogue: /etc/penstock/mine\n{text}", encoding="utf-8")
    assert load(path).catalogue == Path("/etc/penstock/mine")
    path.write_text(text, encoding="utf-8")
    assert load(path).catalogue is None


def test_a_missing_file_is_one_clear_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml.*expected a readable YAML file, found No such file"):
        load(tmp_path / "absent.yaml")


def test_a_file_that_is_not_text_is_one_clear_problem(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="expected UTF-8 text, found byte 3 is not UTF-8"):
        load(tmp_path / "binary.yaml")


def test_an_unset_variable_names_itself_and_its_place() -> None:
    problem = the_problem(MINIMAL, {})
    assert problem.where == "p.yaml:2:17"
    assert problem.path == "providers.openai.key"
    assert "OPENAI_KEY" in problem.found
    assert "to be set" in problem.expected


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    (problem,) = problems(MINIMAL.replace("${OPENAI_KEY}", "${file:absent}"), folder=tmp_path)
    assert problem.found == "${file:absent} (No such file or directory)"


def test_a_broken_reference_shows_the_forms_there_are() -> None:
    assert the_problem(MINIMAL.replace("${OPENAI_KEY}", "${1 KEY}")).expected == (
        "${NAME}, ${NAME:-default} or ${file:/path}"
    )


def test_a_misspelt_key_is_met_with_the_likely_one() -> None:
    problem = the_problem(MINIMAL.replace("{key:", "{sluts: 4, key:"))
    assert problem == Problem("p.yaml:2:12", "providers.openai.sluts", "the unknown key 'sluts'", "'slots', perhaps")


def test_an_unknown_key_is_met_with_the_keys_there_are() -> None:
    problem = the_problem(MINIMAL + "extras: 1\n")
    assert problem.where == "p.yaml:5:1"
    there_are = (
        "catalogue, console, experiments, gateway, ledger, nats, projects, providers, routes, scheduler, telemetry, "
        "workers"
    )
    assert problem.expected == f"one of {there_are}"


def test_a_misspelt_key_of_a_message_type_is_refused_too() -> None:
    problem = the_problem(MINIMAL.replace("[openai/gpt-5-mini]", "[openai/gpt-5-mini], timeouts: {stal: 4}"))
    assert problem.path == "routes.fast.timeouts.stal"
    assert problem.expected == "'stall', perhaps"


def test_a_wrong_number_shows_what_was_found_and_what_is_expected() -> None:
    problem = the_problem(MINIMAL + "nats:\n  result_ttl: soon\n")
    assert str(problem) == "p.yaml:6:15: nats.result_ttl: expected a whole number, found 'soon'"


def test_a_value_out_of_range_says_the_range() -> None:
    problem = the_problem(MINIMAL + "nats: {result_ttl: 5}\n")
    assert (problem.found, problem.expected) == ("5", "greater than or equal to 60")


def test_a_missing_key_is_told_at_the_mapping_that_lacks_it() -> None:
    problem = the_problem("providers: {a: {}}\nroutes:\n  fast: {max_attempts: 2}\n")
    assert problem == Problem("p.yaml:3:9", "routes.fast.deployments", "nothing", "this key")


def test_a_name_with_forbidden_characters_is_told_at_the_name() -> None:
    problem = the_problem("providers:\n  'a b': {}\n  c: {}\nroutes: {fast: {deployments: [c/m]}}\n")
    assert (problem.where, problem.found) == ("p.yaml:2:3", "the name 'a b'")


def test_a_route_to_an_unknown_provider_is_told_at_the_route() -> None:
    problem = the_problem(MINIMAL.replace("openai/gpt-5-mini", "opena/gpt-5-mini"))
    assert problem.where == "p.yaml:4:23"
    assert problem.path == "routes.fast.deployments"
    assert "there is no provider 'opena' (there are: openai)" in problem.expected


def test_an_empty_file_asks_for_what_is_needed() -> None:
    assert [problem.path for problem in problems("")] == ["providers", "routes"]


def test_several_problems_are_told_at_once_and_in_order() -> None:
    text = "providers:\n  a: {key: '${NOT}', slots: 0}\nroutes:\n  fast: {deployments: [x]}\n  slow: 4\n"
    found = problems(text)
    assert [problem.where for problem in found] == ["p.yaml:2:12", "p.yaml:2:29", "p.yaml:4:24", "p.yaml:5:9"]


def test_a_secret_is_never_shown() -> None:
    text = """\
providers:
  a: {key: {nested: hush-1}, slots: "${S}"}
  b: {key: [hush-3]}
nats: {password: {x: hush-4}, url: [1], user: {y: 1}}
routes: {fast: {deployments: [a/m]}}
"""
    said = "\n".join(str(problem) for problem in problems(text, {"S": "hush-2"}))
    assert said.count("expected") == 6
    assert "hush" not in said


def test_user_and_password_of_an_address_are_not_shown() -> None:
    text = MINIMAL + "projects: {a: {weight: 'nats://me:hush@host'}}\n"
    assert the_problem(text).found == "'://…@host'".replace("'://", "'nats://")


def test_broken_yaml_is_told_with_its_place() -> None:
    problem = the_problem("providers: {a: [}\n")
    assert problem.where == "p.yaml:1:17"
    assert problem.expected == "valid YAML"


def test_a_control_character_is_one_clear_problem() -> None:
    assert the_problem("providers: \x00").expected == "valid YAML in UTF-8"


def test_the_same_key_twice_is_refused() -> None:
    problem = the_problem(MINIMAL + "  fast: {deployments: [openai/m]}\n")
    assert (problem.where, problem.found) == ("p.yaml:5:3", "'fast' again (first on line 4)")


def test_anchors_and_merges_work_and_own_keys_win() -> None:
    text = """\
providers:
  a: &a {key: k, slots: 4, region: eu}
  b: {<<: *a, slots: 8}
routes: {fast: {deployments: [a/m, b/m]}}
"""
    b = parse(text).providers["b"]
    assert (b.slots, b.region) == (8, "eu")


def test_an_alias_of_itself_is_refused() -> None:
    assert "contains itself" in the_problem("providers: &p {a: *p}\n").found


def test_times_are_written_with_their_unit_or_in_seconds() -> None:
    text = MINIMAL.replace(
        "[openai/gpt-5-mini]", "[openai/m], timeouts: {ttft: 8s, stall: 500ms, total: 2m, connect: 3}"
    )
    timeouts = parse(text, environ=ENVIRON).routes["fast"].timeouts
    assert (timeouts.first_token, timeouts.stall, timeouts.total, timeouts.connect) == (8.0, 0.5, 120.0, 3.0)


@pytest.mark.parametrize("wrong", ["8 parsecs", "-1s", "0", "s", "nan"])
def test_a_time_that_is_none_is_refused(wrong: str) -> None:
    text = MINIMAL.replace("[openai/gpt-5-mini]", f"[openai/m], timeouts: {{stall: {wrong}}}")
    assert the_problem(text).path.startswith("routes.fast.timeouts")


def test_a_time_given_twice_is_refused() -> None:
    text = MINIMAL.replace("[openai/gpt-5-mini]", "[openai/m], timeouts: {ttft: 1s, first_token: 2s}")
    assert "both" in the_problem(text).expected


def test_a_process_holds_no_credential_it_does_not_ask_for() -> None:
    text = """\
providers:
  a: {key: "${A_KEY}"}
  b: {key: "${B_KEY}"}
  c: {key: literal}
routes: {fast: {deployments: [a/m, b/m]}}
"""
    providers = parse(text, environ={"A_KEY": "mine"}, credentials_of={"a"}).providers
    assert {name: provider.key.get_secret_value() for name, provider in providers.items()} == {
        "a": "mine",
        "b": "",
        "c": "",
    }
