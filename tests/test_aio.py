"""The asynchronous face: the same signatures, nothing blocked, nothing lost."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import holdfast
from holdfast import aio, aio_faces, store
from holdfast.aio import AsyncStore
from holdfast.async_work import THREADS, call_in
from holdfast.backends.log_engine import LogBackend
from holdfast.primitives import documents, event, intents, kv, memories, run, segments, state, traces, vectors
from holdfast.testing.faults import FaultyDisk

TWINS = [
    (kv.KeyValues, aio_faces.AsyncKeyValues),
    (documents.Documents, aio_faces.AsyncDocuments),
    (event.Events, aio_faces.AsyncEvents),
    (memories.Memories, aio_faces.AsyncMemories),
    (segments.Segments, aio_faces.AsyncSegments),
    (state.States, aio_faces.AsyncStates),
    (traces.Traces, aio_faces.AsyncTraces),
    (vectors.Vectors, aio_faces.AsyncVectors),
    (intents.Intents, aio_faces.AsyncIntents),
    (run.Runs, aio_faces.AsyncRuns),
    (store.Store, aio.AsyncStore),
    (store.Space, aio.AsyncSpace),
    (store.Run, aio.AsyncRun),
    (store.Transaction, aio.AsyncTransaction),
]
ITERATES = {"sessions", "changes", "watch"}
ONLY_SYNC = {(store.Space, "snapshot"), (store.Space, "runs"), (store.Run, "runs")}


@pytest.fixture(params=["memory:", "sqlite:", "log:"])
def url(request, tmp_path):
    return request.param if request.param == "memory:" else f"{request.param}{tmp_path / 'store'}"


def public(cls):
    return {name: value for name, value in inspect.getmembers(cls, callable) if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "twin"), TWINS, ids=lambda cls: cls.__name__)
def test_every_method_has_a_twin_of_the_same_signature(sync, twin):
    for name, method in public(sync).items():
        if (sync, name) in ONLY_SYNC:
            continue
        other = getattr(twin, name, None)
        assert other is not None, f"{twin.__name__} lacks {name}"
        assert inspect.signature(other).parameters == inspect.signature(method).parameters, name
        if name not in ITERATES and name not in ("run", "space", "span", "transaction"):
            returns = [inspect.signature(one).return_annotation for one in (other, method)]
            assert returns[0] == returns[1].removeprefix("journal."), name


def test_the_faces_are_what_the_tool_writes():
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "tools/async_face.py", "--check"], cwd=root, check=False)
    assert done.returncode == 0, "run tools/async_face.py"


def test_open_has_the_same_arguments():
    assert inspect.signature(holdfast.open).parameters == inspect.signature(holdfast.open_async).parameters


def test_the_main_job(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")
            memory = await space.memories.store("Parser rewritten", session_id="s1")
            assert await space.memories.get(memory.id) == memory
            assert [hit.record.id for hit in await space.memories.search("parser")] == [memory.id]
            assert [one.session_id for one in await space.memories.sessions()] == ["s1"]
            assert await space.kv.put_many({}) == []
            async with space.transaction() as tx:
                await tx.kv.put("a", 1)
                appended = await tx.events.append("log", {"n": 1})
                assert await tx.kv.get("a") == 1
            assert appended.sequence == 0
            assert tx.receipt is not None
            assert await space.transact(lambda tx: tx.kv.get("a")) == 1
            async with await space.run("nightly") as run:
                await run.kv.put("x", 1)
            assert run.record.status == "completed"
            assert (await space.replay(run.id)).kv.get("x") == 1
            resumable = await space.runs.create("later")
            entered = await space.resume(resumable.id)
            await entered.kv.put("x", 2)
            assert (await entered.fail("no")).status == "failed"
            assert len((await space.diff(run.id, entered.id)).modified) == 1
            assert [change.key for change in await space.changes()][-1] == str(entered.id)
            assert await opened.spaces() == ["p"]
            assert (await opened.status())["spaces"]["p"]["records"]["memories"] == 1
            assert await opened.verify() == []
            assert opened.durability in ("strict", "ephemeral")
            assert opened.url == url
            await opened.flush()
            await opened.refresh_search("p")
            await opened.kv.put("d", 1)
            assert await opened.space("default").kv.get("d") == 1
        with pytest.raises(holdfast.ClosedError):
            await space.kv.get("a")
        await opened.close()

    asyncio.run(main())


def test_documents_are_popped_and_deleted_without_a_thread_of_their_own(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            documents = opened.space("p").json
            await documents.create("queue", {"items": list(range(20)), "x": 1})
            taken = await asyncio.gather(*(documents.pop("queue", "/items", 0) for _ in range(20)))
            assert sorted(taken) == list(range(20)) and await documents.get("queue", "/items") == []
            with pytest.raises(holdfast.NotFoundError, match="no item"):
                await documents.pop("queue", "/items")
            deleted = await asyncio.gather(*(documents.delete("queue", "/x") for _ in range(3)))
            assert sorted(deleted) == [False, False, True]
            async with opened.space("p").transaction() as tx:
                pushed = await tx.json.push("queue", "/items", "last")
                assert await tx.json.pop("queue", "/items") == "last"
            assert pushed.version == 23 and await documents.query("queue", "$.items[*]") == []

    asyncio.run(main())


def test_a_block_that_raises_commits_nothing_and_fails_its_run(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")
            with pytest.raises(ValueError, match="no"):
                async with space.transaction() as tx:
                    await tx.kv.put("a", 1)
                    raise ValueError("no")
            assert await space.kv.get("a") is None
            with pytest.raises(ValueError, match="no"):
                async with await space.run("r") as run:
                    raise ValueError("no")
            assert (await space.runs.get(run.id)).status == "failed"
            with pytest.raises(holdfast.InvalidInputError):
                await space.kv.put("", 1)
            with pytest.raises(holdfast.ConflictError):
                await space.kv.put("a", 1, expected_version=7)

    asyncio.run(main())


def test_cells_and_spans(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")
            await space.states.init("n", 0)
            await asyncio.gather(*(space.states.apply("n", lambda n: n + 1) for _ in range(10)))
            assert await space.states.compare_and_set("n", 10, 11)
            assert not await space.states.compare_and_set("n", 10, 12)
            assert (await space.states.transition("n", "done", allowed_from=[11])).version == 13
            with pytest.raises(holdfast.ConflictError, match="'done'"):
                await space.states.transition("n", 1, allowed_from=[11])
            async with space.traces.span("decision") as outer:
                await asyncio.gather(*(space.traces.record("thought", parent=outer) for _ in range(10)))
            assert len((await space.traces.tree(outer)).children) == 10
            assert (await space.traces.get(outer)).status == "ok"
            for error in (ValueError("no"), asyncio.CancelledError()):
                with pytest.raises(type(error)) as caught:
                    async with space.traces.span("decision") as span:
                        raise error
                assert caught.value is error
                assert (await space.traces.get(span)).status == "error"
            async with space.transaction() as tx:
                async with tx.traces.span("decision", parent=outer) as span:
                    assert (await tx.traces.get(span)).end is None
                pending = await tx.states.set("n", 5)
            assert pending.version == 14
            assert (await space.traces.get(span)).end is not None
            assert len(await space.traces.record_otlp(holdfast.to_otlp([await space.traces.get(outer)]))) == 1
            assert await space.traces.delete_tree(outer) == 12

    asyncio.run(main())


def test_many_writers_share_few_threads_and_lose_nothing(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")

            async def write(writer):
                for n in range(10):
                    await space.events.append("log", [writer, n])

            await asyncio.gather(*(write(writer) for writer in range(200)))
            assert threading.active_count() < 20
            assert (await space.events.stream("log")).length == 2000
            verified = await space.events.verify("log")
            assert verified.ok

    asyncio.run(main())


class SlowDisk(FaultyDisk):
    """A disk whose syncs take long, once ``seconds`` is set; it counts them."""

    seconds = 0.0
    syncs = 0

    def before(self, operation, path, other=holdfast.WriteError):
        if operation == "sync" and self.seconds:
            self.syncs += 1
            time.sleep(self.seconds)
        return super().before(operation, path, other)


def slow_store(tmp_path):
    disk = SlowDisk(tmp_path)
    backend = LogBackend(holdfast.REGISTRY, tmp_path / "store", disk=disk)
    return disk, AsyncStore(holdfast.Store(f"log:{tmp_path / 'store'}", backend, holdfast.REGISTRY, "strict"))


async def longest_pause(stop):
    """How long the event loop did not come round, at worst."""
    longest = 0.0
    while not stop.is_set():
        began = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - began)
    return longest


def test_the_event_loop_is_not_blocked_by_a_slow_disk(tmp_path):
    async def main():
        disk, opened = slow_store(tmp_path)
        async with opened:
            space = opened.space("p")
            await space.kv.put("a", 1)
            disk.seconds = 0.5
            stop = asyncio.Event()
            watching = asyncio.create_task(longest_pause(stop))

            async def in_transaction(n):
                async with space.transaction() as tx:
                    await tx.kv.put(f"t{n}", await tx.kv.get("a"))

            writers = [asyncio.create_task(space.kv.put(f"k{n}", n)) for n in range(100)]
            writers += [asyncio.create_task(in_transaction(n)) for n in range(50)]
            await asyncio.sleep(0.1)
            began = time.monotonic()
            assert await space.kv.get("a") == 1
            assert time.monotonic() - began < 0.25, "a read waits for the disk"
            assert not any(writer.done() for writer in writers)
            assert threading.active_count() < 20
            assert opened._worker._free._value == THREADS, "a commit that is awaited holds a thread"
            await asyncio.gather(*writers)
            stop.set()
            assert await watching < 0.25, "the event loop waits for the disk"
            assert disk.syncs < 20, "those that wait share one sync"
            disk.seconds = 0.0

    asyncio.run(main())


def test_commits_are_led_while_every_thread_waits_for_one(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")

            def slowly(tx):
                time.sleep(0.05)
                return tx.states.set("n", 1)

            waiting = [asyncio.create_task(space.transact(slowly)) for _ in range(THREADS)]
            await asyncio.sleep(0.01)
            await space.kv.put("a", 1)  # queued before the threads come to their commits, and led by none of them
            await asyncio.gather(*waiting)

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.fixture
def held(url):
    """A store, and its write lock: while that is held, nothing is committed."""

    async def opened(main):
        async with await holdfast.open_async(url) as store:
            lock = store._store._backend._write_lock
            try:
                await main(store, store.space("p"), lock, inline=url == "memory:")
            finally:
                if lock.locked():
                    lock.release()  # or closing would wait for ever

    return lambda main: asyncio.run(asyncio.wait_for(opened(main), 20))


def test_a_cancelled_write_is_not_made_or_tells_how_it_ended(held):
    async def main(store, space, lock, inline):
        await space.kv.put("a", 1)
        if not inline:
            lock.acquire()
        queued = asyncio.create_task(space.kv.put("queued", 1))
        never = asyncio.create_task(space.kv.put("never", 1))
        never.cancel()  # it had no chance to begin
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await queued
        with pytest.raises(asyncio.CancelledError) as before:
            await never
        assert holdfast.CommitHandle.of(before.value) is None
        handle = holdfast.CommitHandle.of(caught.value)
        assert "takes place" in caught.value.__notes__[0]
        assert handle.done == inline
        if not inline:
            assert (handle.receipt, handle.error) == (None, None) and "under way" in repr(handle)
            with pytest.raises(holdfast.DeadlineError):
                handle.result(timeout=0.01)
            impatient = asyncio.create_task(asyncio.wait_for(handle, 0.01))
            with pytest.raises(TimeoutError):
                await impatient
            lock.release()
        record = await handle
        assert (record.key, record.version) == ("queued", 1)
        assert handle.result() == record and handle.done and handle.error is None and "done" in repr(handle)
        assert (handle.receipt.sequence, handle.receipt.durability) == (record.revision, store.durability)
        assert await space.kv.get("queued") == 1 and await space.kv.get("never") is None

    held(main)


def test_a_cancelled_transaction_tells_how_it_ended(held):
    async def main(store, space, lock, inline):
        await space.kv.put("n", 1)

        at_end = asyncio.Event()

        async def increase():
            async with space.transaction() as tx:
                await tx.kv.put("n", await tx.kv.get("n") + 1)
                if not inline:
                    lock.acquire()
                at_end.set()

        for sequence in (2, 3):
            at_end.clear()
            task = asyncio.create_task(increase())
            await at_end.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            handle = holdfast.CommitHandle.of(caught.value)
            if not inline:
                lock.release()
            assert (await handle).sequence == sequence
            assert handle.receipt == await handle
        assert await space.kv.get("n") == 3

    held(main)


def test_what_stopped_a_cancelled_write_is_told(held):
    async def main(store, space, lock, inline):
        await space.states.init("n", 1)
        if not inline:
            lock.acquire()
        task = asyncio.create_task(space.states.init("n", 2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        handle = holdfast.CommitHandle.of(caught.value)
        if not inline:
            lock.release()
        with pytest.raises(holdfast.ConflictError):
            await handle
        assert isinstance(handle.error, holdfast.ConflictError) and handle.receipt is None
        assert "ConflictError" in repr(handle)

    held(main)


def test_a_timeout_carries_the_handle_of_what_it_cancelled(held):
    async def main(store, space, lock, inline):
        if inline:
            return  # nothing takes that long
        lock.acquire()
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await space.kv.put("a", 1)
        with pytest.raises(TimeoutError) as other:
            await asyncio.wait_for(space.kv.put("b", 1), 0.05)

        def never(tx):
            raise AssertionError("it was cancelled before it had a thread")

        began = threading.Event()

        def begin(tx):
            began.set()
            tx.kv.put("c", 1)
            return "c is put"

        running = asyncio.create_task(space.transact(begin))
        while not began.is_set():
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as in_thread:
            await running
        lock.release()
        handles = [holdfast.CommitHandle.of(one.value) for one in (caught, other, in_thread)]
        assert [(await handle) and handle.receipt.sequence for handle in handles] == [1, 2, 3]
        assert await handles[2] == "c is put"
        blocked = [asyncio.create_task(space.transact(lambda tx: time.sleep(0.1))) for _ in range(THREADS)]
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(space.transact(never))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as early:
            await waiting
        assert holdfast.CommitHandle.of(early.value) is None
        await asyncio.gather(*blocked)
        assert holdfast.CommitHandle.of(ValueError("no")) is None

    held(main)


def test_what_a_thread_was_doing_tells_how_it_ended(held):
    async def main(store, space, lock, inline):
        if inline:
            return  # nothing is done in a thread
        span = await space.traces.record("task")
        lock.acquire()
        calls = [space.run("nightly"), space.traces.delete_tree(span)]
        calls += [space.states.apply("n", lambda n: n + 1, default=0)]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0.1)
        handles = []
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            handles.append(holdfast.CommitHandle.of(caught.value))
        lock.release()
        run, deleted, state = [await handle for handle in handles]
        async with run:
            await run.kv.put("mine", 1)
        assert run.record.status == "completed" and (state.value, deleted) == (1, 1)
        async with space.transaction() as tx:
            reading = asyncio.create_task(tx.kv.get("mine"))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await reading
            assert holdfast.CommitHandle.of(caught.value) is None, "a transaction commits at its end only"

    held(main)


def test_a_handle_is_settled_when_the_event_loop_has_ended(tmp_path):
    handles = []
    opened = []

    async def main():
        store = await holdfast.open_async(f"log:{tmp_path / 'store'}")
        opened.append(store)
        store._store._backend._write_lock.acquire()
        task = asyncio.create_task(store.space("p").kv.put("a", 1))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            handles.append(holdfast.CommitHandle.of(error))

    asyncio.run(main())
    opened[0]._store._backend._write_lock.release()
    assert handles[0].result(timeout=10).version == 1
    asyncio.run(opened[0].close())


def test_watchers_wait_without_a_thread_and_end_with_the_store(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")
            await space.kv.put("before", 1)
            seen = [[] for _ in range(20)]

            async def watch(told):
                async for change in space.watch():
                    told.append(change.key)

            watching = [asyncio.create_task(watch(told)) for told in seen]
            await asyncio.sleep(0.05)
            began = time.monotonic()
            for number in range(5):
                await space.kv.put(str(number), 1)
            while any(told[-1:] != ["4"] for told in seen):
                assert time.monotonic() < began + 10
                await asyncio.sleep(0.001)
            assert threading.active_count() < 20
            assert [change.key async for change in space.watch(timeout=0)] == []
            assert [change.key async for change in space.watch(3, timeout=0.01, kinds=["kv"])] == ["2", "3", "4"]
            with pytest.raises(holdfast.InvalidInputError):
                space.watch(after=-1)
        await asyncio.wait_for(asyncio.gather(*watching), 10)
        assert all(told == ["0", "1", "2", "3", "4"] for told in seen)

    asyncio.run(main())


def test_looking_after_a_store(url):
    async def main():
        async with await holdfast.open_async(url) as opened:
            space = opened.space("p")
            await space.kv.put("gone", 1, ttl=0.000_001)
            memory = await space.memories.store("alpha", session_id="s")
            add = lambda tx: tx.events.append("log", 1) and 7  # noqa: E731
            assert await asyncio.gather(*(space.transact(add, key="job", key_ttl=60) for _ in range(5))) == [7] * 5
            assert await space.events.length("log") == 1
            assert await opened.sweep(dry_run=True) == {"p": {"kv": 1}} and await space.sweep() == {"kv": 1}
            assert (await space.retain("memory", keep_days=1)).chosen == ()
            assert (await space.forget(session_id="s")).keys == (("memory", str(memory.id)),)
            run = await space.run("r")
            await run.kv.put("a", 1)
            await run.end()
            await space.runs.drop_journal(run.id)
            assert (await space.replay(run.id)).keys() == []
            assert await space.events.trim("log", 1) == 1
            assert await opened.drop_space("p") and not await opened.drop_space("p")
            assert (await opened.compact(keep_changes=0)).trimmed == 0 and await opened.spaces() == []

    asyncio.run(main())


def test_a_loop_that_ends_while_it_is_called_is_not_called():
    class Ending(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, function, *args, **options):
            self.close()
            return super().call_soon_threadsafe(function, *args, **options)

    call_in(Ending(), print)

    class Broken(Ending):
        def close(self):
            raise RuntimeError("not because it has ended")

    broken = Broken()
    try:
        with pytest.raises(RuntimeError, match="not because"):
            call_in(broken, print)
    finally:
        asyncio.SelectorEventLoop.close(broken)
