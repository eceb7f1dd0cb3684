"""Keys in daily life, over two edges and a real broker: made, listed, rotated, revoked; and who is not let in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalogue.load import providers
from job_contracts import subjects
from job_contracts.keys import key_id
from tests.support.edge import ADMIN, PEPPER, RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.own_time import own_time
from tests.support.stand_in import PROJECT, key

VALUES = {
    "providers": {"openai": {"key": "sk-one", "base_url": "http://127.0.0.1:9/v1"}},
    "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
}


@dataclass
class Site:
    """Two edges on one broker, and a client with the admin key of each."""

    whole: Gateway
    one: RunningEdge
    two: RunningEdge

    async def admin(self, method: str, path: str, *, at: RunningEdge | None = None, **said: Any) -> httpx.Response:
        client = (at or self.one).client
        return await client.request(method, path, headers={"authorization": f"Bearer {ADMIN}"}, **said)

    async def made(self, **wish: Any) -> dict[str, Any]:
        answered = await self.admin("POST", "/v1/keys", json={"project": PROJECT, **wish})
        assert answered.status_code == 201, answered.text
        return dict(answered.json())

    async def status(self, secret: str, at: RunningEdge) -> int:
        return (await self.asked(secret, at)).status_code

    async def asked(self, secret: str, at: RunningEdge) -> httpx.Response:
        return await at.client.get("/v1/keys/self", headers={"authorization": f"Bearer {secret}"})

    async def own(self, secret: str, at: RunningEdge) -> dict[str, Any]:
        """What the key is told of itself. An edge that was paused for three of its signs of life has no share of the
        key's rate until the next, and refuses by it meanwhile."""

        async def told() -> dict[str, Any]:
            answered = await self.asked(secret, at)
            assert answered.status_code == 200 or answered.json()["error"]["code"] == "rate_limited", answered.text
            return dict(answered.json()) if answered.status_code == 200 else {}

        return await eventually(told)

    async def broker_runs(self) -> None:
        """Return once the broker has answered."""
        await self.whole.bus.stream_state(subjects.KEYS)

    async def both_say(self, secret: str, status: int, *, within: float = 1.0) -> None:
        """Each after so many seconds at most, in which the broker and this process were let run."""
        async with own_time(self.broker_runs) as now:
            for at in (self.one, self.two):
                begun = now()
                await self.says(secret, status, at, within=within + 10.0)
                assert now() - begun < within, f"not {status} within {within} s"

    async def says(self, secret: str, status: int, at: RunningEdge, *, within: float) -> None:
        async def said() -> bool:
            return await self.status(secret, at) == status

        await eventually(said, within=within, says=f"not {status} within {within} s")


@asynccontextmanager
async def site_of(tmp_path: Path, **settings: Any) -> AsyncIterator[Site]:
    async with (
        gateway(tmp_path, VALUES, providers()) as whole,
        edge(whole, name="one", **settings) as one,
        edge(whole, name="two", **settings) as two,
    ):
        yield Site(whole, one, two)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_of(tmp_path, beat_every=0.2) as made:
        yield made


async def test_a_key_is_shown_once_and_works_at_every_edge(site: Site) -> None:
    made = await site.made(name="ci", routes=["chat"], rpm=60_000, expires="90d")
    secret = made["key"]
    assert secret.startswith(f"psk_{PROJECT}_")
    assert made["id"] == key_id(secret)
    await site.both_say(secret, 200)
    own = await site.own(secret, site.two)
    assert (own["name"], own["scope"], own["state"]) == ("ci", {"routes": ["chat"], "rpm": 60_000.0}, "active")
    listed = await site.admin("GET", "/v1/keys", at=site.two)
    assert made["id"] in [one["id"] for one in listed.json()["data"]]
    stored = (await site.whole.bus.last(subjects.KEYS, subjects.key_record(made["id"]))).data.decode()
    for told in (listed.text, json.dumps(own), stored, *(str(event) for event in site.one.events)):
        assert secret not in told
        assert secret.rpartition("_")[2][12:] not in told, "only the id may be told"


async def test_what_is_stored_lets_nobody_in(site: Site) -> None:
    made = await site.made()
    stored = json.loads((await site.whole.bus.last(subjects.KEYS, subjects.key_record(made["id"]))).data)
    for guess in (stored["hash"], f"psk_{PROJECT}_{stored['hash']}", stored["id"], f"psk_{PROJECT}_{stored['id']}"):
        assert await site.status(guess, site.one) == 401


async def test_a_revoked_key_is_refused_at_every_edge_within_a_second_under_load(site: Site) -> None:
    secret = (await site.made())["key"]
    await site.both_say(secret, 200)
    stopping = asyncio.Event()
    seen: dict[str, list[tuple[float, int]]] = {"one": [], "two": []}

    async with own_time(site.broker_runs) as now:

        async def load(at: RunningEdge, name: str) -> None:
            head = {"authorization": f"Bearer {secret}"}
            async with httpx.AsyncClient(base_url=at.url, headers=head, timeout=30.0, trust_env=False) as client:
                while not stopping.is_set():
                    status = (await client.get("/v1/keys/self")).status_code
                    seen[name].append((now(), status))

        tasks = [asyncio.create_task(load(at, name)) for at, name in ((site.one, "one"), (site.two, "two")) * 4]
        revoked = await site.admin("DELETE", f"/v1/keys/{key_id(secret)}")
        at = now()
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        await site.both_say(secret, 401)
        stopping.set()
        await asyncio.gather(*tasks)
    for name, answers in seen.items():
        late = [when - at for when, status in answers if status == 200 and when > at]
        assert max(late, default=0.0) < 1.0, name
    assert "was revoked" in (await site.asked(secret, site.two)).json()["error"]["message"]
    again = await site.admin("POST", f"/v1/keys/{key_id(secret)}/revoke", at=site.two)
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"], "a second revocation changes nothing"


async def test_a_rotated_key_goes_on_for_its_overlap_and_the_new_one_begins_at_once(site: Site) -> None:
    old = await site.made(name="ci", rpm=60_000)
    rotated = await site.admin("POST", f"/v1/keys/{old['id']}/rotate", json={"overlap": "1h"})
    new = rotated.json()
    assert rotated.status_code == 201
    assert (new["name"], new["scope"], new["replaces"]) == ("ci", old["scope"], old["id"])
    assert (new["old"]["state"], new["old"]["replaced_by"]) == ("replaced, still valid", new["id"])
    await site.both_say(new["key"], 200)
    assert (await site.own(old["key"], site.two))["id"] == old["id"], "both are valid"
    twice = await site.admin("POST", f"/v1/keys/{old['id']}/rotate")
    assert twice.status_code == 409
    later = (await site.admin("POST", f"/v1/keys/{new['id']}/rotate", json={"overlap": "1s"})).json()
    await site.both_say(new["key"], 401, within=5.0)
    assert "taken the place" in (await site.asked(new["key"], site.two)).json()["error"]["message"]
    await site.both_say(later["key"], 200)
    await site.both_say(old["key"], 200)


async def test_of_two_rotations_at_the_same_moment_one_is_refused_and_leaves_nothing(site: Site) -> None:
    old = await site.made()
    path = f"/v1/keys/{old['id']}/rotate"
    answers = await asyncio.gather(*(site.admin("POST", path, at=at) for at in (site.one, site.two)))
    assert sorted(one.status_code for one in answers) == [201, 409]
    (kept,) = [one.json()["id"] for one in answers if one.status_code == 201]
    state = await site.whole.bus.stream_state(subjects.KEYS, subjects=subjects.key_record("*"))
    assert set(state.subjects or ()) == {subjects.key_record(old["id"]), subjects.key_record(kept)}


async def test_a_key_of_the_configuration_is_revoked_by_a_record_and_stays_so(site: Site) -> None:
    await site.both_say(key(), 200)
    revoked = await site.admin("DELETE", "/v1/keys/test")
    assert (revoked.json()["source"], revoked.json()["state"]) == ("configuration", "revoked")
    await site.both_say(key(), 401)
    async with edge(site.whole, name="later") as later:
        assert await site.status(key(), later) == 401, "an edge that starts has read what was revoked"


async def test_a_key_of_the_configuration_is_rotated_like_any_other(site: Site) -> None:
    new = (await site.admin("POST", "/v1/keys/test/rotate", json={"overlap": 0})).json()
    await site.both_say(key(), 401)
    await site.both_say(new["key"], 200)


async def test_an_expired_key_is_refused(site: Site) -> None:
    secret = (await site.made(expires="1s"))["key"]
    await site.both_say(secret, 401, within=5.0)
    assert "expired" in (await site.asked(secret, site.one)).json()["error"]["message"]


async def test_two_edges_share_a_rate_and_say_when_to_come_back(tmp_path: Path) -> None:
    # Signs of life as often as in production: at 0.2 s a busy machine loses three, and each time the shares begin anew.
    async with site_of(tmp_path) as site:
        secret = (await site.made(rpm=120))["key"]
        await eventually(lambda: _share(site.one) == _share(site.two) == 0.5, within=20.0, says="they do not share")
        loop = asyncio.get_running_loop()
        begun, admitted, refused = loop.time(), 0, list[httpx.Response]()
        while loop.time() < begun + 3.0 or not refused:
            for answered in await asyncio.gather(site.asked(secret, site.one), site.asked(secret, site.two)):
                admitted += answered.status_code == 200
                refused += [answered] if answered.status_code == 429 else []
        assert 4 <= admitted <= 20 + 2 * (loop.time() - begun) + 1, "ten seconds' worth at once, then the rate"
        assert refused[0].json()["error"]["type"] == "rate_limit_error"
        assert int(refused[0].headers["retry-after"]) >= 1


def _share(running: RunningEdge) -> float:
    peers = next(duty for duty in running.made.duties if type(duty).__name__ == "Peers")
    return float(peers.share(running.edge.clock.monotonic())[0])  # type: ignore[attr-defined]


async def test_an_edge_that_ends_gives_its_share_back(site: Site) -> None:
    await eventually(lambda: _share(site.one) == 0.5, within=5.0)
    await site.two.stop()
    await eventually(lambda: _share(site.one) == 1.0, within=5.0)


async def test_an_edge_that_cannot_hear_what_was_revoked_lets_nobody_in_until_it_can(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path, VALUES, providers()) as whole,
        edge(whole, name="one", keys_stale=1.0) as one,
    ):
        site = Site(whole, one, one)
        await site.says(key(), 200, one, within=10.0)  # it is never sure for longer than a second
        whole.broker.freeze()  # type: ignore[call-arg]
        try:
            await site.says(key(), 503, one, within=10.0)
            refused = await site.asked(key(), one)
            assert refused.headers["retry-after"] == "1"
            assert (await site.admin("GET", "/v1/keys")).status_code == 200, "the admin's key is not in doubt"
        finally:
            whole.broker.thaw()  # type: ignore[call-arg]
        await site.says(key(), 200, one, within=20.0)


async def test_a_record_that_cannot_be_read_lets_nobody_in(site: Site) -> None:
    made = await site.made()
    await site.both_say(made["key"], 200)
    subject = subjects.key_record(made["id"])
    record = json.loads((await site.whole.bus.last(subjects.KEYS, subject)).data)
    newer = {**record, "scope": {"only_on_sundays": True}}
    await site.whole.bus.append(subject, json.dumps(newer).encode())
    await site.both_say(made["key"], 401)
    assert (await site.admin("DELETE", "/v1/keys/test")).status_code == 200, "the others can still be changed"


ODD = (
    "' OR '1'='1",
    "Bearer ' OR '1'='1' --",
    f"Bearer psk_{PROJECT}_' UNION SELECT hash FROM keys --",
    "Bearer " + "a" * 5_000,
    "Bearer psk_\xe9_\xfc",
    "Bearer",
    "Basic cHNrOnBzaw==",
    f"bearer  {PEPPER}",
    "Bearer null",
    "Bearer *",
    f"Bearer psk_{PROJECT}_" + "0" * 64,
    f"Bearer {key()} {key()}",
)


async def test_an_odd_authorization_is_refused_in_words(site: Site) -> None:
    for given in ODD:
        answered = await site.one.client.get("/v1/keys/self", headers={b"authorization": given.encode("latin-1")})
        assert answered.status_code == 401, given
        assert answered.headers["www-authenticate"] == "Bearer"
        assert answered.json()["error"]["code"] in {"invalid_api_key", "missing_api_key"}


async def test_a_key_that_was_not_copied_whole_is_told_so(site: Site) -> None:
    secret = (await site.made())["key"]
    swapped = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    assert "not copied whole" in (await site.asked(swapped, site.one)).json()["error"]["message"]


async def test_a_project_may_not_administer_keys(site: Site) -> None:
    paths = ("/v1/keys", "/v1/keys/test", "/v1/keys/test/rotate", "/v1/keys/test/revoke")
    for method, path in [
        ("GET", paths[0]),
        ("GET", paths[1]),
        ("DELETE", paths[1]),
        *(("POST", p) for p in paths[::2]),
    ]:
        assert (await site.one.client.request(method, path)).status_code == 403
    assert (await site.one.client.post(paths[3])).status_code == 403


async def test_a_wish_that_makes_no_sense_names_the_field(site: Site) -> None:
    refused = await site.admin("POST", "/v1/keys", json={"project": PROJECT, "lanes": ["fast"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "lanes[0]")


async def test_an_unknown_key_cannot_be_changed(site: Site) -> None:
    for method, path in (("DELETE", "/v1/keys/nobody"), ("POST", "/v1/keys/no.body/rotate"), ("GET", "/v1/keys/*")):
        assert (await site.admin(method, path)).status_code == 404


async def test_a_long_list_comes_in_pages(site: Site) -> None:
    made = [(await site.made(name=str(number)))["id"] for number in range(5)]
    found: list[str] = []
    more = True
    while more:
        after = {"after": found[-1]} if found else {}
        page = (await site.admin("GET", "/v1/keys", params={"project": PROJECT, "limit": "2", **after})).json()
        found += [one["id"] for one in page["data"]]
        more = page["has_more"]
    assert found == ["test", *made]


async def test_there_is_an_end_to_the_number_of_keys(tmp_path: Path) -> None:
    async with gateway(tmp_path, VALUES, providers()) as whole, edge(whole, max_keys=1) as one:
        site = Site(whole, one, one)
        await site.made()
        refused = await site.admin("POST", "/v1/keys", json={"project": PROJECT})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_keys")
