"""compose.yaml and the Dockerfile: what can be held without a Docker engine, every command run as a plain process."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from appliance.handover import write
from appliance.http import ask
from appliance.ports import free_ports
from ledger.database import Database
from producer_sdk import Forbidden, Producer, Unreachable
from runtime.broker import Broker, BrokerConfig, ClusterNode, binary
from runtime.config import DATABASE, ConfigError, parse
from tests.support.compose import ROOT, Machine, compose_file, variables_of
from tests.support.eventually import eventually

SIMULATED = {"PENSTOCK_CONFIG": "./deploy/penstock.simulated.yaml"}
CLUSTER = variables_of("deploy/cluster.env")
BROKERS = ("broker", "broker-2", "broker-3")
ONE_SHOT = "keys"
ENDING = {ONE_SHOT, "migrate"}
"""What does its work and ends."""
LEDGERS = {"ledger", "migrate", "postgres"}
"""What may reach the database."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return compose_file(SIMULATED)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(compose_file(SIMULATED, "simulator"), tmp_path)
    yield made
    made.stop()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Machine]:
    """With three brokers, and the simulator in place of the providers."""
    simulated = yaml.safe_load((ROOT / SIMULATED["PENSTOCK_CONFIG"]).read_text(encoding="utf-8"))
    clustered = yaml.safe_load((ROOT / CLUSTER["PENSTOCK_CONFIG"]).read_text(encoding="utf-8"))
    file = tmp_path / "penstock.yaml"
    file.write_text(yaml.safe_dump({**simulated, "nats": clustered["nats"]}), encoding="utf-8")
    made = Machine(compose_file({**CLUSTER, "PENSTOCK_CONFIG": str(file)}, "simulator", "cluster"), tmp_path)
    yield made
    made.stop()


# -- the files


def test_every_service_runs_with_the_least_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        uid = service["user"].partition(":")[0]
        assert int(uid) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert service["logging"]["options"]["max-size"], name
        assert ("healthcheck" in service) is (name not in ENDING), name


def test_ports_are_published_on_the_loopback_alone(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_no_service_has_a_credential_by_default_and_a_pool_sees_its_own_alone(compose: dict[str, Any]) -> None:
    own = {
        "ledger": ["PENSTOCK_WEBHOOK_SECRET"],
        "postgres": ["PGDATA", "POSTGRES_INITDB_ARGS", "POSTGRES_PASSWORD_FILE"],
    }
    for name, service in compose["services"].items():
        environment = service.get("environment", {})
        if name != "postgres":
            assert not any(environment.values()), f"{name} has a default credential"
        if name.startswith("worker-"):
            assert list(environment) == [f"{name.removeprefix('worker-').upper()}_API_KEY"], name
        else:
            assert sorted(environment) == own.get(name, []), name


def test_the_database_and_its_password_are_the_ledgers_alone(compose: dict[str, Any]) -> None:
    services = compose["services"]
    secret = {
        name: [one for one in service.get("volumes", ()) if one.startswith("ledger-keys:")]
        for name, service in services.items()
    }
    assert {name for name, mounts in secret.items() if mounts} == LEDGERS | {ONE_SHOT}
    assert all(mounts[0].endswith(":ro") for name, mounts in secret.items() if mounts and name != ONE_SHOT)
    assert {name for name, service in services.items() if "ledger" in service.get("networks", ())} == LEDGERS
    assert compose["networks"]["ledger"] == {"internal": True}
    assert services["postgres"]["networks"] == services["migrate"]["networks"] == ["ledger"]
    assert "ports" not in services["postgres"]
    assert services["ledger"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_no_configuration_of_compose_holds_a_password_and_only_the_ledger_reads_the_database_s(tmp_path: Path) -> None:
    for name in ("penstock.yaml", "penstock.cluster.yaml", "penstock.simulated.yaml"):
        text = (ROOT / "deploy" / name).read_text(encoding="utf-8").replace("file:/", f"file:{tmp_path}/")
        (tmp_path / "keys").mkdir(exist_ok=True)
        (tmp_path / "keys" / "service.password").write_text("s")
        assert parse(text, environ={}, credentials_of={"openai"}).ledger.database.get_secret_value() == ""
        with pytest.raises(ConfigError, match=r"ledger\.database"):
            parse(text, environ={}, credentials_of={DATABASE})


def test_with_the_ledger_in_a_file_nothing_waits_for_postgres(compose: dict[str, Any]) -> None:
    text = (ROOT / "deploy" / "compose.sqlite.yaml").read_text(encoding="utf-8")
    over = yaml.safe_load(text.replace("!override", ""))["services"]  # compose's own word: not merged, but in its place
    assert set(over) == LEDGERS
    needed = compose["services"]["ledger"]["depends_on"]
    assert over["ledger"]["depends_on"] == {name: terms for name, terms in needed.items() if name != "migrate"}
    assert over["ledger"]["networks"] == ["default"]
    assert {mount.partition(":")[0] for mount in over["ledger"]["volumes"]} <= set(compose["volumes"])
    assert "sqlite:////ledger/ledger.db" in text


def test_whatever_is_named_exists(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for needed, terms in service.get("depends_on", {}).items():
            waits_for_end = terms["condition"] == "service_completed_successfully"
            assert needed in compose["services"], name
            assert waits_for_end is (needed in ENDING), name
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"], mount


def test_images_are_pinned_by_a_version(compose: dict[str, Any]) -> None:
    foreign = {
        service["image"] for service in compose["services"].values() if not service["image"].startswith("penstock:")
    }
    assert foreign
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for image in [*foreign, *bases]:
        assert re.search(r":v?\d+\.\d+", image), image


def test_compose_itself_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("the docker client with its compose plugin is not installed here")
    checked = subprocess.run(
        [
            docker,
            "compose",
            "--profile",
            "simulator",
            "--profile",
            "cluster",
            "--profile",
            "observability",
            "config",
            "--quiet",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["nats.conf", "nats.compose.conf", "nats.cluster.conf"])
def test_the_brokers_files_are_read_by_the_server(name: str, tmp_path: Path) -> None:
    config = tmp_path / "penstock.yaml"
    config.write_text("projects: {demo: {}}")
    write(config, tmp_path / "keys", ["a:6222", "b:6222", "c:6222"])
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    text = text.replace('"users.conf"', '"keys/users.conf"').replace('"../../keys/', '"keys/')
    text, certificates = re.subn(r'"/etc/nats/tls/[^"]+"', '""', text)
    assert certificates == (3 if name == "nats.conf" else 0)
    (tmp_path / name).write_text(re.sub(r"tls \{[^}]*\}", "", text))
    checked = subprocess.run(
        [str(binary()), "-t", "-c", name, "--name", "a"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "sync_interval: always" in text


def _dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def test_the_image_copies_what_exists_and_ignores_the_rest() -> None:
    copied = [
        word for step, words in _dockerfile() if step == "COPY" and "--from" not in words for word in words.split()[:-1]
    ]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert [word for word in copied if not (ROOT / word).exists()] == []
    assert set(copied) <= sent


def test_the_image_holds_every_program_that_compose_runs(compose: dict[str, Any]) -> None:
    copied = {word for step, words in _dockerfile() if step == "COPY" for word in words.split()}
    ours = [one["command"] for one in compose["services"].values() if one["command"][0] == "python"]
    assert {command[2] for command in ours} <= copied


def test_the_image_ends_as_a_user_without_rights_and_keeps_no_installer() -> None:
    steps = _dockerfile()
    last = max(index for index, (step, _) in enumerate(steps) if step == "FROM")
    users = [words for step, words in steps[last:] if step == "USER"]
    assert users == ["65532:65532"]
    assert not any("pip" in words for step, words in steps[last:] if step == "RUN")


def test_the_image_installs_from_the_lock_with_hashes_and_only_groups_that_exist() -> None:
    installs = [words for step, words in _dockerfile() if step == "RUN" and " install " in words]
    for command in " && ".join(installs).split("&&"):
        if "pip" in command and "install" in command and "--no-index" not in command:
            assert "--require-hashes" in command
            assert "requirements.lock" in command
    groups = re.findall(r"--group (\S+)", " ".join(installs))
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert set(groups) <= set(tomllib.load(file)["dependency-groups"])
    assert {"scheduler", "workers", "gateway", "ledger", "simulator"} <= set(groups)


def test_the_image_holds_the_steps_of_the_ledgers_tables() -> None:
    assert ("COPY", "migrations migrations") in _dockerfile()


# -- the commands


async def start_all(machine: Machine) -> None:
    """Start every service after those it needs, each once these are well; the brokers of a cluster need one another."""
    assert machine.start(ONE_SHOT).wait(timeout=60) == 0, machine.said(ONE_SHOT)
    brokers = [name for name in BROKERS if name in machine.compose["services"]]
    for name in brokers:
        machine.start(name)
    for name in [*brokers, *machine.order()]:
        if name not in machine.running:
            machine.start(name)
        if name in ENDING:
            assert machine.running[name].wait(timeout=60) == 0, machine.said(name)
        else:
            await eventually(partial(machine.healthy, name), within=60, every=0.4, says=partial(machine.said, name))
    assert set(machine.running) == set(machine.compose["services"])


def key_of(machine: Machine) -> str:
    project, key = machine.run(ONE_SHOT, "python -m appliance keys --show --dir /keys").split()
    assert project == "demo"
    return key


@pytest.mark.timeout(300)
async def test_every_command_and_health_check_of_compose_works_as_a_process_and_lets_no_stranger_in(
    machine: Machine,
) -> None:
    await start_all(machine)
    url = f"nats://127.0.0.1:{machine.ports['broker', '4222']}"
    async with Producer(url, key=key_of(machine)) as producer:
        for route in ("fast", "smart", "cheap"):
            answer = await producer.complete(model=route, messages="What is a penstock?", timeout=30)
            assert answer.text
    measured = f"http://127.0.0.1:{machine.ports['ledger', '8080']}/metrics"
    await eventually(partial(stored, measured, 3), within=20, says=partial(machine.said, "ledger"))
    command = "python -m ledger migrate --config /etc/penstock/penstock.yaml --after"
    assert "are at revision" in machine.run("migrate", command)
    await the_database_lets_in_the_ledger_alone(machine)
    await the_broker_knows_no_key_by_itself(machine)

    private = [path for path in machine.folder.glob("*keys/*") if stat.S_IMODE(path.stat().st_mode) != 0o600]
    assert private == []
    codes = machine.stop()
    del codes[ONE_SHOT]
    assert set(codes.values()) == {0}, codes


async def stored(url: str, attempts: int) -> bool:
    found = re.search(r"^penstock_ledger_attempts_total (\S+)", (await ask(url)).body.decode(), re.MULTILINE)
    return found is not None and float(found[1]) >= attempts


async def the_database_lets_in_the_ledger_alone(machine: Machine) -> None:
    password = (machine.folder / "ledger-keys" / "database.password").read_text().strip()

    async def asked(user: str, password: str, name: str, question: str) -> str:
        url = f"postgresql://{user}:{password}@127.0.0.1:{machine.ports['postgres', '5432']}/{name}"
        database = Database(url, pooled=False)
        try:
            async with database.engine.connect() as connection:
                return str((await connection.execute(text(question))).scalar_one())
        finally:
            await database.close()

    rights = "SELECT concat(rolsuper, rolcreatedb, rolcreaterole) FROM pg_roles WHERE rolname = current_user"
    assert await asked("penstock", password, "penstock", rights) == "fff"
    for user, secret in (("postgres", password), ("penstock", "penstock"), ("postgres", "postgres")):
        with pytest.raises(DBAPIError, match="password authentication failed"):
            await asked(user, secret, "penstock", "SELECT 1")


@pytest.mark.timeout(300)
async def test_the_cluster_of_compose_goes_on_without_the_node_that_is_killed_and_a_stranger_cannot_join(
    three: Machine, tmp_path: Path
) -> None:
    await start_all(three)
    urls = ",".join(f"nats://127.0.0.1:{three.ports[name, '4222']}" for name in BROKERS)
    async with Producer(urls, key=key_of(three)) as producer:
        assert (await producer.complete(model="fast", messages="What is a penstock?", timeout=60)).text
        three.running["broker"].kill()
        three.running["broker"].wait(timeout=10)
        assert (await producer.complete(model="smart", messages="What is a penstock?", timeout=60)).text
        three.start("broker")
        await eventually(partial(three.healthy, "broker"), within=60, every=0.1, says=partial(three.said, "broker"))
    await a_stranger_cannot_join(three, tmp_path)
    codes = three.stop()
    del codes[ONE_SHOT]
    assert set(codes.values()) == {0}, codes


async def a_stranger_cannot_join(three: Machine, tmp_path: Path) -> None:
    routes = tuple(f"127.0.0.1:{three.ports[name, '6222']}" for name in BROKERS)
    stranger = Broker(
        BrokerConfig(node=ClusterNode(name="stranger", port=free_ports(1)[0], routes=routes)), tmp_path / "stranger"
    )
    await stranger.start()
    try:
        log = tmp_path / "stranger" / "nats-server.log"
        await eventually(lambda: "Authorization Violation" in log.read_text(), within=20, says=log.read_text)
    finally:
        await stranger.stop()


async def the_broker_knows_no_key_by_itself(machine: Machine) -> None:
    url = f"nats://127.0.0.1:{machine.ports['broker', '4222']}"
    for key in ("psk_demo_" + "0" * 64, "psk_service_service", None):
        producer = Producer(url, key=key, project=None if key else "demo", connect_timeout=2)
        with pytest.raises((Forbidden, Unreachable)):
            await producer.complete(model="fast", messages="hello", timeout=3)
        await producer.close()


def test_a_health_check_of_something_that_is_not_there_fails(machine: Machine) -> None:
    assert not machine.healthy("scheduler")
    assert not machine.healthy("broker")
