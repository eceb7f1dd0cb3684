"""Signatures of AWS: equal to the published test suite and to what botocore signs by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from catalogue.load import providers
from tests.support.clock import ManualClock
from workers.auth import BadCredential, credentials
from workers.signing import signer_of
from workers.sigv4 import AwsKey, SigV4, aws_key

ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwth"
    "Ax7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAk"
    "iY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
HOST = "https://example.amazonaws.com"


async def signed(
    url: str, body: bytes = b"", *, token: str | None = None, service: str = "service", **headers: str
) -> dict[str, str]:
    address = httpx.URL(url)
    signer = SigV4(AwsKey(ID, SECRET, token, "us-east-1"), service=service, clock=ManualClock(wall=AT))
    given = [(b"host", address.netloc), (b"accept-encoding", b"identity")]
    given += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {name.decode(): value.decode() for name, value in await signer.headers(address, given, body)}


def signature(headers: dict[str, str]) -> str:
    found = re.search(r"Signature=([0-9a-f]{64})$", headers["authorization"])
    assert found is not None
    return found.group(1)


# Of AWS's "Signature Version 4 Test Suite" those that are a POST with headers we sign: the name, what is sent, the
# signature that is published with it.
SUITE = [
    ("post-vanilla", "/", b"", {}, None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "post-vanilla-query",
        "/?Param1=value1",
        b"",
        {},
        None,
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    (
        "post-x-www-form-urlencoded",
        "/",
        b"Param1=value1",
        {"content_type": "application/x-www-form-urlencoded"},
        None,
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "post-sts-header-before",
        "/",
        b"",
        {},
        TOKEN,
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
]


@pytest.mark.parametrize(("path", "body", "headers", "token", "expected"), [row[1:] for row in SUITE])
async def test_the_published_test_suite(
    path: str, body: bytes, headers: dict[str, str], token: str | None, expected: str
) -> None:
    found = await signed(HOST + path, body, token=token, **headers)
    assert signature(found) == expected
    assert found["x-amz-date"] == "20150830T123600Z"
    assert found.get("x-amz-security-token") == token
    assert found["authorization"].startswith(
        f"AWS4-HMAC-SHA256 Credential={ID}/20150830/us-east-1/service/aws4_request, SignedHeaders="
    )


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    "path",
    [
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-2-lite-v1%3A0/converse",
        "/model/m/converse-stream?b=2&a=1",
    ],
)
async def test_botocore_signs_the_same_by_itself(path: str, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    url, body = f"https://bedrock-runtime.us-east-1.amazonaws.com{path}", b'{"messages": []}'
    found = await signed(url, body, token=token, service="bedrock", content_type="application/json")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(AT, UTC))
    # Imported here: every process of a run collects this file, and one of them needs the library.
    from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
    from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
    from botocore.credentials import Credentials  # type: ignore[import-untyped]

    request = AWSRequest(method="POST", url=url, headers={"content-type": "application/json"}, data=body)
    SigV4Auth(Credentials(ID, SECRET, token), "bedrock", "us-east-1").add_auth(request)
    assert found == {name.lower(): value for name, value in request.headers.items() if name.lower() != "content-type"}


async def test_another_body_another_time_and_another_path_have_another_signature() -> None:
    first = signature(await signed(f"{HOST}/a", b"1"))
    assert first != signature(await signed(f"{HOST}/a", b"2"))
    assert first != signature(await signed(f"{HOST}/b", b"1"))
    assert first == signature(await signed(f"{HOST}/a", b"1"))


ROW = providers()["bedrock"]


def test_a_key_of_two_or_three_parts_signs_and_any_other_is_sent() -> None:
    def made(key: str) -> object:
        return signer_of(
            ROW,
            SecretStr(key),
            region="us-east-1",
            clock=ManualClock(),
            transport=httpx.MockTransport(lambda _: None),  # type: ignore[arg-type]
        )

    assert isinstance(made(f"{ID}:{SECRET}"), SigV4)
    assert isinstance(made(f"{ID}:{SECRET}:{TOKEN}\n"), SigV4)
    assert made("bedrock-api-key-YmVkcm9jaw==") is None
    assert credentials(ROW, SecretStr("bedrock-api-key-YmVkcm9jaw==")) == {
        "authorization": "Bearer bedrock-api-key-YmVkcm9jaw=="
    }
    assert made("") is None


@pytest.mark.parametrize("key", [f"{ID}:", f":{SECRET}", f"{ID}:{SECRET}:", f"{ID}:{SECRET}:a:b", f"{ID}:{SECRET}\n:t"])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadCredential, match=r"providers\.bedrock\.key: expected ACCESS_KEY_ID:SECRET") as refused:
        aws_key("bedrock", key, "us-east-1")
    assert ID not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_without_a_region_there_is_no_signature_and_what_is_secret_is_not_shown() -> None:
    with pytest.raises(BadCredential, match=r"providers\.bedrock\.region: set it"):
        aws_key("bedrock", f"{ID}:{SECRET}", None)
    assert SECRET not in repr(aws_key("bedrock", f"{ID}:{SECRET}:{TOKEN}", "eu-west-1"))
    assert TOKEN not in repr(aws_key("bedrock", f"{ID}:{SECRET}:{TOKEN}", "eu-west-1"))
