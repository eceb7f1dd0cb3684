"""Access tokens of Google's cloud: had once, renewed in time, and what becomes of it when there are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from pydantic import SecretStr

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.failures import Failure, FailureKind
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.upstream import Do, Upstream, completion, response, upstream
from tests.support.worker import POOL, bench
from workers.auth import BadCredential
from workers.dialects.port import Encoded
from workers.google_tokens import EARLY, LAST, LIFE, PAUSE, SCOPE, Account, GoogleTokens, account
from workers.http import CallFailed
from workers.http import Upstream as Way
from workers.signing import NotSigned, signer_of
from workers.transport import AiohttpTransport

EMAIL = "worker@my-project.iam.gserviceaccount.com"
URL = httpx.URL("https://aiplatform.googleapis.com/v1/x")


@cache
def key_pair() -> tuple[str, str]:
    """A private key as a service account's file has it, and its public half."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return own.decode(), public.decode()


def file_of(token_uri: str, **over: Any) -> str:
    values = {
        "type": "service_account",
        "client_email": EMAIL,
        "private_key_id": "key-1",
        "private_key": key_pair()[0],
        "token_uri": token_uri,
    }
    return json.dumps({**values, **over})


def token(value: str, life: int = 3600) -> bytes:
    return response({"access_token": value, "expires_in": life, "token_type": "Bearer"})


class Held:
    """Tokens from a scripted endpoint, by a clock that stands still."""

    def __init__(self, endpoint: Upstream) -> None:
        self.endpoint = endpoint
        self.clock = ManualClock()
        self.transport = AiohttpTransport()
        self.tokens = GoogleTokens(
            account("vertex", file_of(f"{endpoint.url}/token")),
            auth={"Authorization": "Bearer {key}"},
            clock=self.clock,
            transport=self.transport,
        )

    async def sent(self) -> str:
        headers = await self.tokens.headers(URL, [], b"")
        assert [name for name, _ in headers] == [b"authorization"]
        return headers[0][1].decode()

    async def failure(self) -> Failure:
        with pytest.raises(NotSigned) as none:
            await self.tokens.headers(URL, [], b"")
        return none.value.failure


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    async with upstream([token("ya29.first")], [token("ya29.second")]) as endpoint:
        made = Held(endpoint)
        try:
            yield made
        finally:
            await made.tokens.close()
            await made.transport.aclose()


async def test_a_token_is_had_for_a_signed_statement_and_kept(held: Held) -> None:
    assert await held.sent() == "Bearer ya29.first"
    assert await held.sent() == "Bearer ya29.first"
    assert len(held.endpoint.asked) == 1
    asked = held.endpoint.asked[0]
    assert asked.line == "POST /token HTTP/1.1"
    form = parse_qs(asked.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    now = held.clock.wall()
    statement = jwt.decode(form["assertion"][0], verify=False)  # type: ignore[no-untyped-call]
    assert statement == {
        "iss": EMAIL,
        "scope": SCOPE,
        "aud": f"{held.endpoint.url}/token",
        "iat": now,
        "exp": now + LIFE,
    }
    assert jwt.decode_header(form["assertion"][0])["kid"] == "key-1"  # type: ignore[no-untyped-call]


async def test_many_calls_at_once_ask_once(held: Held) -> None:
    assert set(await asyncio.gather(*(held.sent() for _ in range(50)))) == {"Bearer ya29.first"}
    assert len(held.endpoint.asked) == 1


async def test_before_its_end_a_token_is_renewed_while_calls_go_on_with_it(held: Held) -> None:
    await held.sent()
    held.clock.advance(LIFE - EARLY - 1)
    await held.sent()
    assert len(held.endpoint.asked) == 1
    held.clock.advance(2)
    assert await held.sent() == "Bearer ya29.first"
    await eventually(lambda: len(held.endpoint.asked) == 2)
    assert held.tokens._asking is not None
    await held.tokens._asking
    assert await held.sent() == "Bearer ya29.second"
    assert len(held.endpoint.asked) == 2


async def test_a_token_at_its_end_is_not_sent_any_more(held: Held) -> None:
    await held.sent()
    held.clock.advance(LIFE - LAST + 1)
    assert await held.sent() == "Bearer ya29.second"


async def test_a_token_of_a_short_life_is_believed(held: Held) -> None:
    held.endpoint.play([token("ya29.short", life=60)], [token("ya29.next")])
    assert await held.sent() == "Bearer ya29.short"
    held.clock.advance(50)
    assert await held.sent() == "Bearer ya29.next"


async def test_a_refused_account_is_a_failure_of_the_credential_and_is_not_asked_about_with_every_call(
    held: Held,
) -> None:
    refused = {"error": "invalid_grant", "error_description": f"Invalid JWT Signature for {EMAIL}."}
    held.endpoint.play([response(refused, status=400)], [token("ya29.later")])
    failure = await held.failure()
    assert (failure.kind, failure.code, failure.status) == (FailureKind.AUTH, "invalid_grant", 400)
    assert EMAIL not in failure.message
    assert await held.failure() == failure
    assert len(held.endpoint.asked) == 1
    held.clock.advance(PAUSE + 0.1)
    assert await held.sent() == "Bearer ya29.later"


@pytest.mark.parametrize(
    "script",
    [
        [response({"error": "internal_failure"}, status=503)],
        [response({"error": "slow_down"}, status=429)],
        [response({"expires_in": 3600})],
        [response({"access_token": "a\r\nb: c", "expires_in": 3600})],
        [response({"access_token": 5, "expires_in": 3600})],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope"],
        [b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.invalid/\r\ncontent-length: 0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{", Do.CLOSE],
        [response("no gzip", extra="content-encoding: gzip\r\n")],
        [Do.RESET],
    ],
)
async def test_an_endpoint_that_does_not_work_is_a_lost_connection(held: Held, script: list[Any]) -> None:
    held.endpoint.play(script)
    failure = await held.failure()
    assert failure.kind is FailureKind.CONNECT
    assert "token endpoint" in failure.message


async def test_an_endpoint_that_nobody_listens_on_is_a_lost_connection() -> None:
    transport = AiohttpTransport()
    made = account("vertex", file_of("http://127.0.0.1:1/token"))
    tokens = GoogleTokens(made, auth={}, clock=ManualClock(), transport=transport)
    with pytest.raises(NotSigned) as none:
        await tokens.headers(URL, [], b"")
    assert none.value.failure.kind is FailureKind.CONNECT
    await transport.aclose()


async def test_a_token_still_good_is_sent_while_the_endpoint_is_away(held: Held) -> None:
    await held.sent()
    held.endpoint.play([response({}, status=503)])
    held.clock.advance(LIFE - EARLY + 1)
    assert await held.sent() == "Bearer ya29.first"
    assert held.tokens._asking is not None
    assert await held.tokens._asking is not None
    assert await held.sent() == "Bearer ya29.first"


async def test_a_call_that_is_given_up_leaves_the_others_waiting_for_the_same_token(held: Held) -> None:
    held.endpoint.play([Do.WAIT, token("ya29.slow")])
    first, second = asyncio.create_task(held.sent()), asyncio.create_task(held.sent())
    await eventually(lambda: len(held.endpoint.asked) == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    held.endpoint.proceed()
    assert await second == "Bearer ya29.slow"
    assert len(held.endpoint.asked) == 1


async def test_closing_ends_what_is_under_way(held: Held) -> None:
    held.endpoint.play([Do.HANG])
    waiting = asyncio.create_task(held.sent())
    await eventually(lambda: len(held.endpoint.asked) == 1)
    await held.tokens.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_request_without_a_token_is_never_sent(held: Held) -> None:
    held.endpoint.play([response({"error": "invalid_grant"}, status=400)])
    reached: list[httpx.Request] = []

    class Provider(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            reached.append(request)
            return httpx.Response(200)

    row = providers()["vertex"].model_copy(update={"base_url": "https://aiplatform.googleapis.com/v1"})
    way = Way(Provider(), row, {}, signer=held.tokens)
    with pytest.raises(CallFailed) as failed:
        await way.send(Encoded(path="/x", headers={}, body=b""), attempt_id="a.1", connect=1.0)
    assert failed.value.failure.kind is FailureKind.AUTH
    assert reached == []


# -- the key


def test_a_file_a_path_and_a_token_are_told_apart(tmp_path: Path) -> None:
    row = providers()["vertex"]
    path = tmp_path / "account.json"
    path.write_text(file_of("https://oauth2.googleapis.com/token"))

    def made(key: str) -> object:
        return signer_of(row, SecretStr(key), region="global", clock=ManualClock(), transport=AiohttpTransport())

    assert isinstance(made(path.read_text()), GoogleTokens)
    assert isinstance(made(str(path)), GoogleTokens)
    assert made("ya29.a0AfH6SMB-token") is None
    assert made("") is None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("/nowhere/account.json", "cannot be read"),
        ("{", "not JSON"),
        ('{"type": "authorized_user"}', "key file of a service account"),
        (file_of("https://x", client_email=""), "lacks client_email"),
        (file_of("https://x", private_key=key_pair()[0].replace("\n", "\nnonsense", 1)), "cannot be used"),
        (file_of("http://elsewhere.example/token"), "must start with https"),
        (file_of("ftp://elsewhere.example/token"), "no address"),
        (file_of("https://user:pw@elsewhere.example/token"), "no address"),
    ],
)
def test_a_key_that_is_none_is_refused_with_words_and_not_shown(key: str, words: str) -> None:
    with pytest.raises(BadCredential, match=words) as refused:
        account("vertex", key)
    assert str(refused.value).startswith("providers.vertex.key: ")
    assert "PRIVATE" not in str(refused.value)
    assert "nonsense" not in str(refused.value)


def test_an_account_does_not_show_its_key() -> None:
    made = account("vertex", file_of("https://oauth2.googleapis.com/token"))
    assert isinstance(made, Account)
    assert "signer" not in repr(made)


# -- in a whole worker


def signing(url: str) -> ProviderRow:
    return ProviderRow(
        name=POOL, dialect="openai_chat", base_url=url, sign="google", auth={"authorization": "Bearer {key}"}
    )


async def test_an_attempt_without_a_token_fails_with_the_credential_and_costs_nothing() -> None:
    refused = response({"error": "invalid_grant"}, status=400)
    async with upstream([refused]) as endpoint, upstream([response(completion())]) as provider:
        key = file_of(f"{endpoint.url}/token")
        async with bench(provider.url, catalogue={POOL: signing(provider.url)}, key=key) as worker:
            given = await worker.hand(worker.assignment())
            outcome = await worker.outcome(given)
            assert outcome.failure is not None
            assert outcome.failure.kind is FailureKind.AUTH
            fact = worker.facts()[given.attempt_id]
            assert (fact.usage.input, fact.usage.output) == (0, 0)
        assert provider.asked == []


async def test_an_attempt_with_a_token_is_made_and_no_word_of_the_key_is_told() -> None:
    async with upstream([token("ya29.secret-token")]) as endpoint, upstream([response(completion())]) as provider:
        key = file_of(f"{endpoint.url}/token")
        async with bench(provider.url, catalogue={POOL: signing(provider.url)}, key=key) as worker:
            given = await worker.hand(worker.assignment())
            await worker.result(given)
            told = repr(worker.events) + repr(worker.results())
        assert provider.asked[0].header("authorization") == "Bearer ya29.secret-token"
        assert "ya29.secret-token" not in told
        assert "PRIVATE" not in told
