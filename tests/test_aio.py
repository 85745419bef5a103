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
from holdfast.primitives import documents, event, kv, memories, run, segments, state, traces, vectors

TWINS = [
    (kv.KeyValues, aio_faces.AsyncKeyValues),
    (documents.Documents, aio_faces.AsyncDocuments),
    (event.Events, aio_faces.AsyncEvents),
    (memories.Memories, aio_faces.AsyncMemories),
    (segments.Segments, aio_faces.AsyncSegments),
    (state.States, aio_faces.AsyncStates),
    (traces.Traces, aio_faces.AsyncTraces),
    (vectors.Vectors, aio_faces.AsyncVectors),
    (run.Runs, aio_faces.AsyncRuns),
    (store.Store, aio.AsyncStore),
    (store.Space, aio.AsyncSpace),
    (store.Run, aio.AsyncRun),
    (store.Transaction, aio.AsyncTransaction),
]
ITERATES = {"sessions", "changes", "watch"}
ONLY_SYNC = {(store.Space, "snapshot"), (store.Space, "runs"), (store.Run, "runs")}


@pytest.fixture(params=["memory:", "sqlite"])
def url(request, tmp_path):
    return "memory:" if request.param == "memory:" else str(tmp_path / "store.db")


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


def test_the_event_loop_is_not_blocked_by_a_slow_disk(tmp_path):
    async def main():
        async with await holdfast.open_async(tmp_path / "store.db") as opened:
            space = opened.space("p")
            await space.kv.put("a", 1)
            opened._store._backend._write_lock.acquire()  # a disk that does not answer
            writing = asyncio.create_task(space.kv.put("a", 2))
            began = time.monotonic()
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert time.monotonic() - began < 5
            assert not writing.done()
            assert await space.kv.get("a") == 1
            opened._store._backend._write_lock.release()
            assert (await writing).version == 2

    asyncio.run(main())


def test_a_cancelled_write_is_not_made_or_made_whole(tmp_path):
    async def main():
        async with await holdfast.open_async(tmp_path / "store.db") as opened:
            space = opened.space("p")
            await space.kv.put("a", 1)
            opened._store._backend._write_lock.acquire()
            queued = asyncio.create_task(space.kv.put("queued", 1))
            never = asyncio.create_task(space.kv.put("never", 1))
            never.cancel()  # it had no chance to begin
            await asyncio.sleep(0.01)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await queued
            assert "takes place" in caught.value.__notes__[0]
            opened._store._backend._write_lock.release()
            await space.kv.put("a", 2)
            assert await space.kv.get("queued") == 1
            assert await space.kv.get("never") is None

    asyncio.run(main())


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
