"""A gateway in memory, for the tests of programs that use the SDK: no broker, no network, the real ``Producer``.

::

    from producer_sdk.testing import FakeGateway, says, fails

    async with FakeGateway() as gateway:
        gateway.script(says("Hello!"), fails(FailureKind.CONTENT_POLICY))
        producer = gateway.producer()
        answer = await producer.complete(model="fast", messages="Hi")
        assert answer.text == "Hello!"
        assert gateway.jobs[0].job.route == "fast"

In pytest: ``@pytest.fixture async def gateway(): async with FakeGateway() as fake: yield fake``. Blocking programs use
``with FakeGateway() as gateway`` and ``gateway.sync_producer()``.

``script`` what is to be said · ``stage`` the jobs and their ends · ``store`` what is kept of them ·
``gateway`` the fake itself.
"""

from __future__ import annotations

from producer_sdk.testing.gateway import FakeGateway
from producer_sdk.testing.script import Reply, calls, embeds, fails, says, silence
from producer_sdk.testing.stage import Received

__all__ = ["FakeGateway", "Received", "Reply", "calls", "embeds", "fails", "says", "silence"]
