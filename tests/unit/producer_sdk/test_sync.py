"""The blocking twin: from any thread, with or without a loop of the caller's own, through interrupts and forks."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer_sdk import Closed, InvalidRequest, JobFailed, Queued, SyncProducer, Timeout, Token, TooLarge
from producer_sdk.testing import FakeGateway, fails, says
from producer_sdk.testing.script import vector_of


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as fake:
        yield fake


@pytest.fixture
def producer(gateway: FakeGateway) -> SyncProducer:
    return gateway.sync_producer(timeout=10)


def wait_for(condition: threading.Event | None = None, *, until: object = None) -> None:
    """Let other threads go on until something is true."""
    ends = time.monotonic() + 5
    while not (condition.is_set() if condition else until()):  # type: ignore[operator]  # a function
        assert time.monotonic() < ends, "not true within 5 s"
        threading.Event().wait(0.005)


def test_everything_works_without_a_loop(gateway: FakeGateway, producer: SyncProducer) -> None:
    assert producer.complete(model="m", messages="Hi").text == "Hi"
    job = producer.submit(model="m", messages="Hi")
    assert job.result().text == "Hi"
    assert job.record().job == job.receipt().job == job.status().job == producer.attach(job.id).id
    gateway.script(says("[1, 2]"))
    assert producer.parse(list[int], model="m", messages="Hi") == [1, 2]
    gateway.hold()
    held = producer.submit(model="m", messages="Hi")
    held.cancel("no")
    assert gateway.jobs[-1].cancelled is not None


def test_an_answer_is_scored_once(gateway: FakeGateway, producer: SyncProducer) -> None:
    job = producer.submit(model="m", messages="Hi").id
    assert producer.feedback(job, 0.5).first
    assert not producer.feedback(job, 1.0).first
    assert gateway.scores == {job: 0.5}
    with pytest.raises(InvalidRequest, match="between 0 and 1"):
        producer.feedback(job, 7)


def test_texts_become_vectors_without_a_loop(producer: SyncProducer) -> None:
    found = producer.embed(model="m", inputs=["a", "b", "c"], dimensions=4, batch_size=2)
    assert found.vectors == [vector_of(text, 4) for text in "abc"]
    job = producer.submit_embedding(model="m", inputs="a", dimensions=4)
    embeddings = job.result().embeddings
    assert embeddings is not None
    assert embeddings.vectors == (vector_of("a", 4),)


def test_a_stream_is_a_plain_iterator_with_a_result(gateway: FakeGateway, producer: SyncProducer) -> None:
    gateway.script(says(["a", "b"]))
    stream = producer.stream(model="m", messages="Hi")
    assert "".join(event.text for event in stream if isinstance(event, Token)) == "ab"
    assert stream.result.text == "ab"
    assert list(stream) == []
    job = producer.submit(model="m", messages="Hi", stream=True)
    assert job.stream().text() == "Hi"


def test_a_stream_left_early_cancels_its_job(gateway: FakeGateway, producer: SyncProducer) -> None:
    gateway.script(says("one two three", pace=0.2))
    with producer.stream(model="m", messages="Hi") as stream:
        for event in stream:
            if isinstance(event, Token):
                break
    wait_for(until=lambda: gateway.jobs[0].cancelled is not None)


def test_errors_are_the_same(gateway: FakeGateway, producer: SyncProducer) -> None:
    gateway.script(fails("bad_request"))
    with pytest.raises(JobFailed):
        producer.complete(model="m", messages="Hi")
    gateway.hold()
    with pytest.raises(Timeout):
        producer.complete(model="m", messages="Hi", timeout=0.05)
    with pytest.raises(TooLarge):
        producer.complete(model="m", messages="x" * (40 * 1024 * 1024))


def test_map_yields_while_it_goes_and_may_be_left(gateway: FakeGateway, producer: SyncProducer) -> None:
    requests = [{"model": "m", "messages": str(n)} for n in range(20)]
    assert [item.unwrap().text for item in producer.map(requests, ordered=True)] == [str(n) for n in range(20)]
    items = producer.map(requests)
    next(items)
    items.close()


def test_many_threads_may_share_one(producer: SyncProducer) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = pool.map(lambda n: producer.complete(model="m", messages=str(n)).text, range(50))
        assert list(texts) == [str(n) for n in range(50)]


async def test_it_may_be_used_inside_a_running_loop(producer: SyncProducer) -> None:
    assert producer.complete(model="m", messages="Hi").text == "Hi"


def test_its_own_loop_may_not_wait_for_itself(producer: SyncProducer) -> None:
    def requests() -> Iterator[dict[str, str]]:
        yield {"model": "m", "messages": producer.complete(model="m", messages="inner").text}

    with pytest.raises(Closed, match="own loop"):
        list(producer.map(requests()))


def test_an_interrupt_ends_the_wait_cancels_the_job_and_leaves_the_producer_usable(
    gateway: FakeGateway, producer: SyncProducer
) -> None:
    gateway.hold()
    interrupted = threading.Thread(target=lambda: _interrupt_when(lambda: bool(gateway.jobs)))
    interrupted.start()
    with pytest.raises(KeyboardInterrupt):
        producer.complete(model="m", messages="Hi")
    interrupted.join()
    wait_for(until=lambda: gateway.jobs[0].cancelled is not None)
    gateway.release()
    assert producer.complete(model="m", messages="again").text == "again"


def test_an_interrupt_of_a_map_is_raised_and_cancels_its_jobs(gateway: FakeGateway, producer: SyncProducer) -> None:
    gateway.hold()
    interrupted = threading.Thread(target=lambda: _interrupt_when(lambda: len(gateway.jobs) == 3))
    interrupted.start()
    with pytest.raises(KeyboardInterrupt):
        list(producer.map([{"model": "m", "messages": "Hi"}] * 3))
    interrupted.join()
    wait_for(until=lambda: all(job.cancelled is not None for job in gateway.jobs))
    gateway.release()
    assert producer.complete(model="m", messages="again").text == "again"


def _interrupt_when(condition: object) -> None:
    wait_for(until=condition)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # another thread would not pass it on


def test_closing_ends_the_thread_and_every_later_call(gateway: FakeGateway) -> None:
    before = threading.active_count()
    with gateway.sync_producer() as producer:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    producer.close()
    with pytest.raises(Closed):
        producer.complete(model="m", messages="Hi")


def test_closing_while_another_thread_waits_fails_that_call(gateway: FakeGateway) -> None:
    producer = gateway.sync_producer()
    gateway.hold()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(producer.complete, model="m", messages="Hi")
        wait_for(until=lambda: bool(gateway.jobs))
        producer.close()
        with pytest.raises(Closed):
            waiting.result(5)


def test_a_producer_that_is_forgotten_takes_its_thread_along(gateway: FakeGateway) -> None:
    before = threading.active_count()
    producer = SyncProducer(transport=gateway.transport())
    producer.complete(model="m", messages="Hi")
    assert threading.active_count() == before + 1
    del producer
    wait_for(until=lambda: threading.active_count() == before)


def test_before_its_first_use_it_may_be_forked_and_after_it_says_so(gateway: FakeGateway) -> None:
    fresh, used = gateway.sync_producer(), gateway.sync_producer()
    used.complete(model="m", messages="Hi")
    used._portal._process -= 1  # as it is in a process that was forked from the one that opened it
    with pytest.raises(Closed, match="another process"):
        used.complete(model="m", messages="Hi")
    used._portal._process += 1
    fresh._portal._process -= 1
    assert fresh.complete(model="m", messages="Hi").text == "Hi"


def test_a_first_event_is_there_before_the_answer(gateway: FakeGateway, producer: SyncProducer) -> None:
    gateway.hold()
    stream = producer.stream(model="m", messages="Hi")
    assert isinstance(next(stream), Queued)
    stream.close()
    assert asyncio.iscoroutinefunction(type(stream).__next__) is False


def test_dead_letters_are_at_hand_without_a_loop(gateway: FakeGateway, producer: SyncProducer) -> None:
    gateway.script(fails("server_error"), fails("server_error"), says("better"))
    for _ in range(2):
        with pytest.raises(JobFailed):
            producer.complete(model="m", messages="Hi")
    (group,) = producer.dead.groups()
    first, second = [letter.job for letter in producer.dead.list(fingerprint=group.fingerprint)]
    assert producer.dead.page(limit=1).more
    assert producer.dead.show(first).state == "open"
    assert producer.dead.body(first).route == "m"
    assert producer.dead.replay(first).result().text == "better"
    producer.dead.discard(second, why="obsolete")
    assert (producer.dead.replay_all().done, producer.dead.discard_all().done) == (0, 0)
