"""Our own nats-server: it starts ready, keeps what it stored, lets in whom it should and dies with its parent."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sys
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from job_contracts import subjects
from runtime.broker import Broker, BrokerConfig, BrokerError, write_config
from runtime.broker_accounts import BrokerUser
from runtime.bus import NatsBus
from runtime.bus.manifest import GIB, MIB, StreamLimits, manifest, reserved
from runtime.bus.port import AlreadyStored, Message, OutcomeUnknown, Outgoing, StreamFull, Unreachable, WrongSequence
from tests.support.eventually import eventually

Open = Callable[..., Awaitable[NatsBus]]


async def test_it_stops_and_starts_on_the_same_port_with_what_it_stored(own_broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(own_broker.url)
    await bus.ensure(manifest(StreamLimits(), ["openai"]))
    await bus.append(subjects.submit("acme", "s-l"), b"job")
    url = own_broker.url
    await own_broker.stop()
    await own_broker.stop()
    assert not own_broker.running
    await own_broker.start()
    await own_broker.start()
    assert own_broker.url == url
    again = await open_bus(url)
    assert (await again.get("SUBMIT_0", 1)).data == b"job"

    async def complete() -> bool:
        return await again.ensure(manifest(StreamLimits(), ["openai"]), create=False) == []

    await eventually(complete, says="the stream in memory is made again by the connection that declared it")


async def test_the_declared_streams_carry_a_job_from_submission_to_result(own_broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(own_broker.url)
    await bus.ensure(manifest(StreamLimits(), ["openai"]))
    submitted: list[Message] = []
    live: list[Message] = []
    tail = await bus.tail("SUBMIT_0", submitted.append, subjects=[subjects.queued(0, "*", "*-*")])
    await bus.subscribe(subjects.live("acme", "s"), live.append)
    puller = await bus.pull("WORK_0", "openai")

    await bus.append(subjects.submit("acme", "s-l"), b"job")
    with pytest.raises(AlreadyStored):
        await bus.append(subjects.submit("acme", "s-l"), b"job")
    assert await tail.caught_up(1, timeout=5)
    assert submitted[0].subject == subjects.queued(0, "acme", "s-l")

    lease = Outgoing(subjects.lease(0), b"{}", {"Nats-Rollup": "sub", "Nats-Expected-Last-Subject-Sequence": "0"})
    await bus.append_batch([lease, Outgoing(subjects.work(0, "openai", "acme", "s-l"), b"assignment")])
    (delivery,) = await puller.fetch(5, expires=5)
    assert subjects.project_and_job(delivery.message.subject) == ("acme", "s-l")
    await bus.publish(subjects.tokens("acme", "s-l"), b"token")
    await bus.append(subjects.result("acme", "s-l"), b"result", expect_last=0, ttl=3_600)
    with pytest.raises(WrongSequence):
        await bus.append(subjects.result("acme", "s-l"), b"second", expect_last=0, ttl=3_600)
    assert await delivery.ack_confirmed(within=5)
    await eventually(lambda: len(live) == 2)
    assert {(message.subject.rpartition(".")[2], message.data) for message in live} == {
        ("tok", b"token"),
        ("res", b"result"),
    }
    ref = await bus.put_blob("acme.s-l", b"x" * 1_000_000, of="job")
    assert await bus.get_blob("acme.s-l", ref, of="job") == b"x" * 1_000_000
    await bus.delete_blob("acme.s-l", of="job")
    assert (await bus.stream_state("BLOB")).messages == 0


async def test_a_user_reaches_only_what_it_may_name(tmp_path: Path, open_bus: Open) -> None:
    acme = BrokerUser.model_validate(
        {
            "name": "acme",
            "password": "secret",
            "publish": ("penstock.v1.submit.acme.>", "penstock.v1.api.acme.>", "_INBOX_acme.>"),
            "subscribe": ("penstock.v1.live.acme.>", "_INBOX_acme.>"),
        }
    )
    service = BrokerUser.model_validate({"name": "service", "password": "very secret"})
    broker = Broker(BrokerConfig(sync="default", users=(service, acme)), tmp_path)
    await broker.start()
    try:
        with pytest.raises(Unreachable, match="Authorization"):
            await open_bus(broker.url)
        with pytest.raises(Unreachable, match="Authorization"):
            await open_bus(broker.url, user="acme", password="wrong")
        own = await open_bus(broker.url, user="service", password="very secret")
        await own.ensure(manifest(StreamLimits()))
        tenant = await open_bus(
            broker.url, user="acme", password="secret", inbox_prefix="_INBOX_acme", publish_timeout=5.0
        )
        assert (await tenant.append(subjects.submit("acme", "s-l"), b"mine")).seq == 1
        with pytest.raises(OutcomeUnknown):
            await tenant.append(subjects.submit("other", "s-l"), b"not mine", timeout=0.5)
        with pytest.raises(OutcomeUnknown):
            await tenant.stream_state("SUBMIT_0")
        overheard: list[Message] = []
        await tenant.subscribe("penstock.v1.live.other.>", overheard.append)
        await tenant.subscribe("penstock.v1.live.acme.>", overheard.append)
        await own.append(subjects.result("other", "s-l"), b"theirs")
        await own.append(subjects.result("acme", "s-l"), b"ours")
        await eventually(lambda: [message.data for message in overheard] == [b"ours"])
        assert (await own.stream_state("SUBMIT_0")).messages == 1
        assert tenant.connected
    finally:
        await broker.stop()


def test_its_configuration_is_read_by_us_alone(tmp_path: Path) -> None:
    user = BrokerUser.model_validate({"name": "a", "password": "p\"'$x"})
    path = write_config(BrokerConfig(users=(user,)), tmp_path / "new" / "folder")
    assert path.stat().st_mode & 0o077 == 0
    assert '"sync_interval": "always"' in path.read_text()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path, own_broker: Broker) -> None:
    port = int(own_broker.url.rpartition(":")[2])
    second = Broker(BrokerConfig(port=port), tmp_path / "second")
    with pytest.raises(BrokerError, match="address already in use"):
        await second.start()
    assert not second.running


PARENT = """
import asyncio, sys
from pathlib import Path
from runtime.broker import Broker, BrokerConfig

async def main():
    broker = await Broker(BrokerConfig(sync="default"), Path(sys.argv[1])).start()
    print(broker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux kills the children of the dead")
async def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    ("store", "stream", "words"),
    [
        (
            {"max_file_store": 10 * GIB},
            "OUT_0",
            "on its disk for the 1.00 GiB .* 60.56 GiB .* jetstream.max_file_store",
        ),
        ({"max_memory_store": MIB}, "TOK", "in memory for the 0.25 GiB .* 0.25 GiB .* jetstream.max_memory_store"),
    ],
)
async def test_a_store_too_small_for_the_streams_is_told_with_what_to_change(
    tmp_path: Path, open_bus: Open, store: dict[str, int], stream: str, words: str
) -> None:
    broker = Broker(BrokerConfig(sync="default", **store), tmp_path / "broker")  # type: ignore[arg-type]
    await broker.start()
    try:
        bus = await open_bus(broker.url)
        with pytest.raises(StreamFull, match=f"stream {stream}: the broker has no room {words}"):
            await bus.ensure(manifest(StreamLimits()))
    finally:
        await broker.stop()


async def test_a_store_of_just_what_the_streams_reserve_is_enough(tmp_path: Path, open_bus: Open) -> None:
    assets = manifest(StreamLimits(submit_bytes=80 * GIB))
    broker = Broker(BrokerConfig(sync="default", max_file_store=reserved(assets, "file")), tmp_path / "broker")
    await broker.start()
    try:
        bus = await open_bus(broker.url)
        await bus.ensure(assets)
        assert await bus.ensure(assets, create=False) == []
    finally:
        await broker.stop()


async def test_an_encrypted_connection_is_made_and_verified(tmp_path: Path, open_bus: Open) -> None:
    cert, key = certificate(tmp_path)
    broker = Broker(BrokerConfig(sync="default", tls_cert=cert, tls_key=key), tmp_path / "broker")
    await broker.start()
    try:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await open_bus(broker.url)
        bus = await open_bus(broker.url, tls_ca=cert)
        await bus.ensure(manifest(StreamLimits()))
        for number in range(50):
            await bus.append(subjects.submit("acme", f"s-{number}"), b"x" * 100_000)
        assert len((await bus.get("SUBMIT_0", 50)).data) == 100_000
    finally:
        await broker.stop()


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed one for the loopback address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file
