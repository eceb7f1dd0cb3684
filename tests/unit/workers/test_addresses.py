"""Where the requests of each kind of endpoint go, and what proves who sends them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.chat import Conversation
from runtime.bus.memory import MemoryBroker
from runtime.settings import Config
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.upstream import response, upstream
from tests.unit.workers.test_google_tokens import file_of
from workers.assembly import Worker, assemble
from workers.auth import BadCredential
from workers.dialects import DIALECTS
from workers.endpoint import Endpoint, NoSuchRow
from workers.transport import AiohttpTransport

HELLO = Conversation.model_validate({"messages": [{"role": "user", "content": "hello"}]})
AT = datetime(2026, 11, 28, 9, 30, tzinfo=UTC).timestamp()


class Taking(httpx.AsyncBaseTransport):
    """Keeps the requests; gives a token to whoever asks for one."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json={"access_token": "ya29.given", "expires_in": 3600})


def worker(transport: httpx.AsyncBaseTransport, name: str, more: ProviderRow | None = None, **provider: Any) -> Worker:
    routes = {"fast": {"deployments": [f"{name}/m"]}}
    config = Config.model_validate({"providers": {name: provider}, "routes": routes})
    clock = ManualClock(wall=AT)
    return assemble(
        config,
        pool=name,
        worker="w1",
        bus=MemoryBroker(clock=clock).bus(),
        clock=clock,
        telemetry=Telemetry(),
        catalogue={**providers(), **({more.name: more} if more else {})},
        dialects=DIALECTS,
        transport=transport,
    )


async def sent(
    name: str, model: str, *, stream: bool = False, more: ProviderRow | None = None, **provider: Any
) -> httpx.Request:
    """The request for a plain question."""
    taking = Taking()
    made = worker(taking, name, more, **provider)
    endpoint: Endpoint = made.pool._endpoint
    target = endpoint.target(model, stream=stream)
    encoded = endpoint.dialect(target).encode(HELLO, target)
    await made.upstream.send(encoded, attempt_id="stem-1.1", connect=1.0)
    await made.upstream.close()
    return taking.requests[-1]


CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
AWS: dict[str, Any] = {
    "key": "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:the-session-token",
    "region": "eu-west-1",
}


async def test_bedrock_is_asked_in_its_region_with_a_signature() -> None:
    request = await sent("bedrock", CLAUDE, **AWS)
    assert str(request.url) == (
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    )
    assert request.headers["x-amz-date"] == "20261128T093000Z"
    assert request.headers["x-amz-security-token"] == "the-session-token"
    scope = "AKIDEXAMPLE/20261128/eu-west-1/bedrock/aws4_request"
    names = "content-type;host;x-amz-date;x-amz-security-token"
    assert request.headers["authorization"].startswith(
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature="
    )
    assert len(request.headers.get_list("authorization")) == 1
    assert json.loads(request.read()) == {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}


async def test_bedrock_is_asked_with_an_api_key_as_it_is() -> None:
    request = await sent("bedrock", CLAUDE, stream=True, key="bedrock-api-key-abc", region="us-east-1")
    assert request.url.path.endswith("/converse-stream")
    assert request.url.host == "bedrock-runtime.us-east-1.amazonaws.com"
    assert request.headers["authorization"] == "Bearer bedrock-api-key-abc"
    assert request.headers["accept"] == "application/vnd.amazon.eventstream"
    assert "x-amz-date" not in request.headers


async def test_a_model_that_is_an_address_of_its_own_stays_one_part_of_the_path() -> None:
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
    request = await sent("bedrock", arn, **AWS)
    escaped = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2c3"
    assert request.url.raw_path == f"/model/{escaped}/converse".encode()


async def test_what_is_signed_is_what_comes_over_the_wire() -> None:
    async with upstream([response({"output": {}})]) as server:
        transport = AiohttpTransport()
        made = worker(transport, "bedrock", base_url=server.url, **AWS)
        endpoint: Endpoint = made.pool._endpoint
        target = endpoint.target(CLAUDE, stream=False)
        reply = await made.upstream.send(DIALECTS["bedrock"].encode(HELLO, target), attempt_id="a.1", connect=1.0)
        await reply.close()
        await made.upstream.close()
        asked = server.asked[0]
        assert asked.line == "POST /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse HTTP/1.1"
        assert asked.header("host") == server.url.removeprefix("http://")
        assert [name.lower() for name, _ in asked.headers].count("content-type") == 1


async def test_vertex_is_asked_in_its_region_and_project_with_a_token() -> None:
    key = file_of("https://oauth2.googleapis.com/token")
    where: dict[str, Any] = {"region": "europe-west4", "variables": {"project": "my-project"}}
    request = await sent("vertex", "gemini-2.5-flash", stream=True, key=key, **where)
    assert str(request.url) == (
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/my-project/locations/europe-west4"
        "/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    )
    assert request.headers["authorization"] == "Bearer ya29.given"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
    ],
)
async def test_regions_with_a_host_of_their_own_get_it(region: str, host: str) -> None:
    request = await sent("vertex", "gemini-2.5-flash", key="ya29.own", region=region, variables={"project": "p"})
    assert request.url.host == host
    assert f"/projects/p/locations/{region}/" in request.url.path
    assert request.headers["authorization"] == "Bearer ya29.own"


async def test_azure_is_asked_at_the_resource_with_its_own_header() -> None:
    request = await sent("azure", "gpt-4o", key="k-1", variables={"resource": "my-resource"})
    assert request.url.host == "my-resource.openai.azure.com"
    assert request.headers["api-key"] == "k-1"
    assert "authorization" not in request.headers


async def test_a_deployment_and_a_version_stand_in_the_path_where_the_row_says_so() -> None:
    dated = ProviderRow(
        name="dated",
        dialect="openai_chat",
        base_url="https://{resource}.openai.azure.com/openai",
        auth={"api-key": "{key}"},
        variables={"api_version": "2024-10-21"},
        quirks={"path": "/deployments/{model}/chat/completions?api-version={api_version}"},
    )
    request = await sent("dated", "gpt-4o", more=dated, key="k-1", variables={"resource": "my-resource"})
    assert str(request.url) == (
        "https://my-resource.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    )
    newer = {"resource": "my-resource", "api_version": "2025-04-01-preview"}
    request = await sent("dated", "gpt-4o", more=dated, key="k-1", variables=newer)
    assert request.url.params["api-version"] == "2025-04-01-preview"


async def test_one_provider_serves_models_of_several_dialects() -> None:
    models = [
        {"name": "gemini-*"},
        {
            "name": "claude-*",
            "dialect": "anthropic",
            "quirks": {"path": "/publishers/anthropic/models/{model}:rawPredict"},
        },
    ]
    row = providers()["vertex"].model_dump() | {"name": "mixed", "models": models}
    mixed = ProviderRow.model_validate(row)
    where: dict[str, Any] = {"key": "ya29.own", "region": "global", "variables": {"project": "p"}}
    gemini = await sent("mixed", "gemini-2.5-flash", more=mixed, **where)
    claude = await sent("mixed", "claude-sonnet-5", more=mixed, **where)
    assert gemini.url.path.endswith("/publishers/google/models/gemini-2.5-flash:generateContent")
    assert "contents" in json.loads(gemini.read())
    assert claude.url.path.endswith("/publishers/anthropic/models/claude-sonnet-5:rawPredict")
    assert json.loads(claude.read())["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("name", "provider", "words"),
    [
        ("bedrock", {"key": "k"}, r"providers\.bedrock\.region: set it: the address has the place \{region\}"),
        ("vertex", {"key": "k", "region": "global"}, r"providers\.vertex\.variables\.project: set it"),
        ("azure", {"key": "k"}, r"providers\.azure\.variables\.resource: set it"),
        ("bedrock", {"key": "k", "region": "eu/../x"}, r"providers\.bedrock\.region: it may hold letters"),
        ("bedrock", {"key": "k", "region": "evil.example/"}, r"providers\.bedrock\.region: it may hold letters"),
        ("bedrock", {"key": "k", "region": "a@evil.example#"}, r"providers\.bedrock\.region: it may hold letters"),
        ("bedrock", {"key": "k", "region": ""}, r"providers\.bedrock\.region: it may hold letters"),
    ],
)
def test_an_address_with_a_place_left_open_is_refused_at_the_start(
    name: str, provider: dict[str, Any], words: str
) -> None:
    with pytest.raises(NoSuchRow, match=words):
        worker(Taking(), name, **provider)


def test_an_address_of_ones_own_may_have_places_too() -> None:
    made = worker(Taking(), "azure", key="k", base_url="https://{resource}.example/o", variables={"resource": "mine"})
    assert made.pool._endpoint.row.base_url == "https://mine.example/o"


def test_a_signature_wants_a_region_even_at_an_address_of_ones_own() -> None:
    with pytest.raises(BadCredential, match=r"providers\.bedrock\.region"):
        worker(Taking(), "bedrock", key=AWS["key"], base_url="http://127.0.0.1:1")
