"""The SQLite backend beyond the contract: files that it refuses, modes, other processes, plans, and its own check."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import UUID

import apsw
import pytest

import holdfast
from holdfast.backends.sqlite import backend as sqlite_backend
from holdfast.backends.sqlite import view as sqlite_view
from holdfast.errors import (
    ClosedError,
    CommitUnknownError,
    CorruptionError,
    FormatError,
    InitError,
    InvalidInputError,
    LockedError,
    PermissionDeniedError,
    PoisonedError,
    ReadOnlyError,
    WriteError,
)
from holdfast.flusher import FLUSH_SECONDS
from holdfast.model import Batch, Record
from holdfast.sqlite_library import require_library
from holdfast.testing.contract import commit, put, view
from holdfast.testing.toys import RAW, RawDelete, toy_registry


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    with holdfast.open(path, registry=toy_registry()) as store:
        yield store


def make(path):
    with holdfast.open(path) as store:
        store.kv.put("k", 1)


def change(path, *statements):
    connection = apsw.Connection(str(path))
    found = [list(connection.execute(statement)) for statement in statements]
    connection.close()
    return found


# What is refused, and left as it is


def refused(path, error, match, **options):
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=match):
        holdfast.open(path, **options)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_format_is_refused(path, read_only):
    make(path)
    change(path, "PRAGMA user_version = 2")
    refused(path, FormatError, "newer version", read_only=read_only)


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_foreign_database_is_refused(path, mode, read_only):
    change(path, f"PRAGMA journal_mode = {mode}", "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")
    refused(path, FormatError, "no Holdfast store", read_only=read_only)
    assert change(path, "PRAGMA journal_mode", "SELECT * FROM theirs") == [[(mode,)], [(1,)]]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_text_file_is_refused(path, read_only):
    path.write_text("This is a diary, and not a database.\n" * 100)
    refused(path, FormatError, "not an SQLite database", read_only=read_only)


def test_a_directory_is_refused(tmp_path):
    refused(tmp_path, InitError, "is a directory")


def test_what_is_missing_is_not_made_unasked(path):
    refused(path, InitError, "does not exist", create=False)
    refused(path, InitError, "does not exist", read_only=True)
    assert not path.exists()


def test_an_empty_file_becomes_a_store_unless_it_is_only_read(path):
    path.touch()
    refused(path, FormatError, "no Holdfast store yet", read_only=True)
    make(path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InitError, match="folder"):
        holdfast.open(tmp_path / "file" / "deep" / "store.db")


def test_urls(tmp_path, monkeypatch):
    for url, error in (
        ("memory:x", InvalidInputError),
        ("sqlite:", InvalidInputError),
        ("gopher:x", InvalidInputError),
        ("", InvalidInputError),
        ("a\0b", InvalidInputError),
    ):
        with pytest.raises(error):
            holdfast.open(url)
    with pytest.raises(InitError):
        holdfast.open("memory:", read_only=True)
    for seconds in (-1, float("nan"), True, "3"):
        with pytest.raises(InvalidInputError):
            holdfast.open("memory:", busy_seconds=seconds)
    monkeypatch.setenv("HOLDFAST_STORE", f"SQLite://{tmp_path}/from-environment.db")
    with holdfast.open() as store:
        store.kv.put("k", 1)
    assert (tmp_path / "from-environment.db").exists()


def test_read_only(path):
    make(path)
    with holdfast.open(path, read_only=True) as store:
        assert store.kv.get("k") == 1
        store.flush()
        with pytest.raises(ReadOnlyError):
            store.kv.put("k", 2)
        with pytest.raises(ReadOnlyError), store.transaction() as tx:
            tx.kv.put("k", 2)
        assert store.verify() == []


def test_an_old_library_is_refused():
    with pytest.raises(InitError, match=r"3\.45\.0"):
        require_library((3, 45, 0))
    require_library((3, 51, 3))


AS_NOBODY = """
import os, sys
import apsw, holdfast, holdfast.backends.sqlite  # while its folder can still be read
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    holdfast.open(sys.argv[1])
except BaseException as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_written(what):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "store.db" if what == "file" else folder / "deeper" / "store.db"
        if what == "file":
            make(path)
            path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, path], capture_output=True, text=True, check=False)
        folder.chmod(0o755)
    assert done.stdout.startswith("PermissionDeniedError"), done.stdout + done.stderr
    assert issubclass(PermissionDeniedError, PermissionError)


# Other processes, and modes


def test_a_lock_that_is_held_too_long(path):
    make(path)
    with holdfast.open(path, busy_seconds=0.2) as store:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(LockedError, match="busy timeout"):
            store.kv.put("k", 2)
        assert 0.15 < time.monotonic() - began < 5
        assert store.kv.get("k") == 1
        other.execute("ROLLBACK")
        store.kv.put("k", 2)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.05, lambda: other.execute("ROLLBACK")).start()
        store.kv.put("k", 3)
        other.close()


def spy(store):
    """The statements that the writer executes from now on."""
    seen = []
    store._backend._writer.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: seen.append(event["sql"]))
    return seen


@pytest.mark.parametrize(("durability", "level"), [("strict", 2), ("buffered", 1), ("ephemeral", 1)])
def test_synchronous_is_never_off(path, durability, level):
    with holdfast.open(path, durability=durability) as store:
        for _ in range(2):
            store.kv.put("k", 1)
            assert store._backend._writer.pragma("synchronous") == level
        with store.transaction(durability="strict") as tx:
            tx.kv.put("k", 2)
        assert tx.receipt.durability == "strict" and store._backend._writer.pragma("synchronous") == 2
        assert store.kv.record("k").version == 3


def test_buffered_is_flushed_soon(path):
    with holdfast.open(path, durability="buffered") as store:
        flushed = []
        flush = store._backend.flush
        store._backend.flush = lambda: (flush(), flushed.append(time.monotonic()))
        began = time.monotonic()
        store.kv.put("k", 1)
        while not flushed and time.monotonic() - began < 5:
            time.sleep(0.01)
        assert flushed and flushed[0] - began < FLUSH_SECONDS + 0.5  # room for a busy machine
        assert store._backend._synchronous == "full"
        store.kv.put("k", 2)
        store.flush()
    with holdfast.open(path) as store:
        assert store.kv.get("k") == 2


def test_a_flush_that_fails_is_told(path):
    with holdfast.open(path, durability="buffered") as store:
        backend = store._backend
        flush, backend.flush = backend.flush, lambda: (_ for _ in ()).throw(WriteError("no medium"))
        store.kv.put("k", 1)
        while backend._flusher.error is None:
            time.sleep(0.01)
        backend.flush = flush
        with pytest.raises(PoisonedError, match="synced"):
            store.flush()
        backend._flusher.error = None


def test_a_forked_child_is_refused(store):
    store.kv.put("k", 1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        for use in (lambda: store.kv.get("k"), lambda: store.kv.put("k", 2), store.flush, store.status):
            try:
                use()
                said.append("worked")
            except BaseException as error:
                said.append(type(error).__name__)
        store.close()
        os.write(write, " ".join(said).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 1000).decode().split() == ["ClosedError"] * 4
    os.close(read)
    store.kv.put("k", 3)
    assert store.kv.get("k") == 3 and issubclass(ClosedError, holdfast.HoldfastError)


def test_checks_in_a_process_that_did_not_open_the_store(store, monkeypatch):
    """What a forked child meets, without the fork, so that coverage sees it."""
    store.kv.put("k", 1)
    backend = store._backend
    monkeypatch.setattr(backend, "_process", 1)
    for use in (lambda: store.kv.get("k"), lambda: store.kv.put("k", 2), store.flush, store.status):
        with pytest.raises(ClosedError, match="forked child"):
            use()
    monkeypatch.undo()
    assert store.kv.get("k") == 1
    monkeypatch.setattr(backend, "_process", 1)
    store.close()
    with pytest.raises(ClosedError, match="open it again"):
        store.kv.get("k")
    monkeypatch.undo()
    backend._closed = False


def test_refusals_of_the_system_are_errors_of_ours(path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sqlite_backend, "make_directories", refuse)
    with pytest.raises(PermissionDeniedError, match="folder"):
        holdfast.open(path)
    monkeypatch.undo()
    make(path)
    connect = sqlite_backend.connect
    monkeypatch.setattr(
        sqlite_backend, "connect", lambda name, **options: connect(name, **(options | {"read_only": True}))
    )
    with pytest.raises(PermissionDeniedError, match="read_only=True"):
        holdfast.open(path)


def test_a_snapshot_whose_reader_was_lost(store):
    store.kv.put("k", 1)
    with pytest.raises(ZeroDivisionError), store._backend.snapshot("default") as seen:
        assert seen.head().sequence == 1
        raise ZeroDivisionError
    assert store.kv.get("k") == 1


def test_a_poisoned_buffered_store_can_be_closed(path):
    store = holdfast.open(path, durability="buffered")
    store.kv.put("k", 1)
    store._backend._poisoned = True
    store.close()
    with holdfast.open(path) as store:
        assert store.kv.get("k") == 1


def test_readers_beyond_the_pool_are_closed(store):
    store.kv.put("k", 1)
    backend = store._backend
    taken = [backend._take_reader() for _ in range(sqlite_backend.READERS_MAX + 2)]
    for connection in taken:
        backend._give_back(connection)
    assert len(backend._readers) == sqlite_backend.READERS_MAX and store.kv.get("k") == 1


# Commits that fail


class Failing:
    """A write connection whose statements fail from the one that starts with ``when``."""

    def __init__(self, connection, when, error, after=False, rollback=True):
        self._connection, self._when, self._error, self._after = connection, when, error, after
        self._rollback = rollback

    def execute(self, statement, *values):
        if statement.startswith(self._when):
            if self._after:
                self._connection.execute(statement, *values)
            raise self._error
        if statement == "ROLLBACK" and not self._rollback:
            raise apsw.IOError("gone")
        return self._connection.execute(statement, *values)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def failing(store, *arguments, **options):
    backend = store._backend
    real, backend._writer = backend._writer, Failing(backend._writer, *arguments, **options)
    return real


def test_a_full_disk_leaves_nothing_and_the_store_goes_on(store):
    store.kv.put("k", 1)
    real = failing(store, "COMMIT", apsw.FullError("full"))
    with pytest.raises(holdfast.DiskFullError):
        store.kv.put("k", 2)
    store._backend._writer = real
    assert store.kv.get("k") == 1
    store.kv.put("k", 3)


def test_a_failed_write_poisons_the_writer_but_not_the_readers(store):
    store.kv.put("k", 1)
    real = failing(store, "COMMIT", apsw.IOError("bad sector"))
    with pytest.raises(WriteError):
        store.kv.put("k", 2)
    store._backend._writer = real
    with pytest.raises(PoisonedError, match="open it again"):
        store.kv.put("k", 3)
    assert store.kv.get("k") == 1 and store.verify() == []


def test_an_interrupted_commit_that_took_effect_is_known_to_have(store):
    store.kv.put("k", 1)
    real = failing(store, "COMMIT", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        store.kv.put("k", 2)
    store._backend._writer = real
    assert store.kv.get("k") == 2
    store.kv.put("k", 3)
    assert store.kv.record("k").version == 3


def test_an_error_after_a_commit_that_took_effect_is_no_error(store):
    real = failing(store, "COMMIT", apsw.FullError("?"), after=True)
    assert store.kv.put("k", 2).version == 1
    store._backend._writer = real
    assert store.kv.get("k") == 2


def test_an_unknown_outcome_is_said(store):
    store.kv.put("k", 1)
    real = failing(store, "COMMIT", apsw.FullError("?"), rollback=False)
    with pytest.raises(CommitUnknownError) as caught:
        store.kv.put("k", 2)
    assert len(caught.value.commit_id) == 16
    store._backend._writer = real
    real.execute("ROLLBACK")
    with pytest.raises(PoisonedError):
        store.kv.put("k", 3)


@pytest.mark.parametrize("took_effect", [False, True])
def test_an_unknown_outcome_is_resolved_by_the_key(path, store, monkeypatch, took_effect):
    def add(tx):
        tx.kv.put("n", tx.kv.get("n", 0) + 1)
        return tx.kv.get("n")

    real = failing(store, "COMMIT", apsw.FullError("?"), after=took_effect, rollback=False)
    with monkeypatch.context() as patched:
        patched.setattr("holdfast.backends.sqlite.step.SqliteStep._was_committed", lambda *_: 1 / 0)
        with pytest.raises(CommitUnknownError):
            store.transact(add, key="job")
    store._backend._writer = real
    store.close()
    with holdfast.open(path) as again:
        assert again.kv.get("n") == (1 if took_effect else None)
        assert again.transact(add, key="job") == 1 and again.transact(add, key="job") == 1
        assert again.kv.get("n") == 1


def test_a_record_that_should_not_be_there(store):
    commit(store, put(store, b"k"))
    step = store._backend._begin_step("strict")
    try:
        from holdfast.backend import StagedSpace

        seen = step.view("default")
        record = Record(b"k", 1, 2, 1, 1, None, 1, (), b"{}")
        with pytest.raises(CorruptionError, match="exists already"):
            step.publish([StagedSpace("default", seen.head(), 2, 2, {RAW: {b"k": record}}, {}, [], set())])
    finally:
        assert not step.abandon() and not step.abandon()
    commit(store, RawDelete(b"k"))


def test_a_failed_flush_poisons(store):
    store.kv.put("k", 1)
    real = failing(store, "COMMIT", apsw.IOError("bad sector"))
    with pytest.raises(WriteError):
        store.flush()
    store._backend._writer = real
    with pytest.raises(PoisonedError):
        store.kv.put("k", 2)


def test_a_full_text_index_that_cannot_be_written_leaves_the_store_usable(store):
    store.memories.store("the quick brown fox")
    with pytest.raises(WriteError):
        store._backend._write_derived(lambda connection: connection.execute("INSERT INTO nothing VALUES (1)"))
    assert [hit.record.content for hit in store.memories.search("fox")] == ["the quick brown fox"]
    assert store.verify() == []


def test_the_status_reads_no_bodies(store):
    assert store.status()["spaces"] == {} and store._backend.text_index() is not None
    store.kv.put("k", 1)
    status = store.status()
    assert status["spaces"]["default"]["records"] == {"kv": 1} and status["bytes"] > 0
    assert status["sqlite"].startswith("3.") and store.spaces() == ["default"]


def test_a_closed_writer_is_no_longer_waited_for(path):
    store = holdfast.open(path)
    backend = store._backend
    with backend._write_lock:
        writer = threading.Thread(target=lambda: pytest.raises(ClosedError, store.kv.put, "k", 1))
        writer.start()
        backend._closed = True
    writer.join(10)
    assert not writer.is_alive()
    backend._closed = False
    store.close()


def test_two_that_create_a_store_at_once(path):
    made = []
    threads = [threading.Thread(target=lambda: made.append(holdfast.open(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, store in enumerate(made):
        store.kv.put(f"k{number}", number)
    assert len(made) == 8 and made[0].kv.count() == 8 and made[0].verify() == []
    for store in made:
        store.close()


def test_a_medium_without_wal_is_refused(path, monkeypatch):
    from holdfast.backends.sqlite import schema

    class NoWal:
        def __init__(self, connection):
            self._connection = connection

        def pragma(self, name, *values):
            return "delete" if name == "journal_mode" else self._connection.pragma(name, *values)

        def __getattr__(self, name):
            return getattr(self._connection, name)

    prepare = schema.prepare
    monkeypatch.setattr(schema, "prepare", lambda connection, *rest, **more: prepare(NoWal(connection), *rest, **more))
    with pytest.raises(InitError, match="WAL mode"):
        holdfast.open(path)


# The check


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("""UPDATE spaces SET counts = '{"1":7}'""", "counters say"),
        ("DELETE FROM terms WHERE rowid_is_missing", "missing"),
        ("INSERT INTO terms VALUES (1, 8, 1, x'01', x'02')", "1 terms of no record"),
        ("INSERT INTO blobs (record, name, data) VALUES (99, 'b', x'01')", "1 blobs of no record"),
        ("UPDATE spaces SET sequence = 1", "behind the last commit"),
        ("UPDATE records SET space = 99 WHERE kind = 1", "space that does not exist"),
        ("""UPDATE records SET body = '{"value":' WHERE kind = 1""", "kv"),
        ("UPDATE records SET body = replace(body, 'hello', 'hallo') WHERE kind = 3", "not what was appended"),
    ],
)
def test_the_check_finds_what_was_tampered_with(path, statement, says):
    with holdfast.open(path) as store:
        store.kv.put("k", 1)
        store.memories.store("m", session_id="s")
        store.events.append("s", "hello")
        assert store.verify() == []
    if "rowid_is_missing" in statement:
        statement = "DELETE FROM terms WHERE number = 2"
    change(path, statement)
    with holdfast.open(path) as store:
        faults = store.verify()
    assert any(says in fault for fault in faults), faults


def test_a_damaged_file_is_found(path):
    with holdfast.open(path) as store:
        store.kv.put_many({f"k{n}": "x" * 500 for n in range(300)})
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(os.urandom(4096 * 3))
    with holdfast.open(path) as store:
        try:
            faults = store.verify()
        except (CorruptionError, holdfast.HoldfastError):
            return
        assert faults != []


# Plans

MANY = 100_000


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    path = tmp_path_factory.mktemp("big") / "store.db"
    with holdfast.open(path, durability="ephemeral") as store:
        for first in range(0, MANY, 10_000):
            store.memories.store_many(
                holdfast.NewMemory(content=f"memory {n}", id=UUID(int=n), session_id=f"s{n % 1000}")
                for n in range(first, first + 10_000)
            )
    return path


def traced(store):
    """All statements that readers run, with how many rows each gave."""
    backend = store._backend
    seen, query = [], backend._query

    def counting(statement, values):
        found = query(statement, values)
        seen.append((statement, len(found)))
        return found

    backend._query = counting
    return seen


@pytest.mark.slow
def test_reads_of_a_large_store(big, monkeypatch):
    bodies = []
    to_record = sqlite_view.to_record
    monkeypatch.setattr(sqlite_view, "to_record", lambda row: bodies.append(row[0]) or to_record(row))
    began = time.monotonic()
    with holdfast.open(big) as store:
        assert time.monotonic() - began < 1.0 and bodies == []
        seen = traced(store)
        store.kv.get("resolve the space")
        seen.clear()
        wanted = [UUID(int=n * 997) for n in range(100)]
        assert [memory.id for memory in store.memories.get_batch(wanted)] == wanted
        assert len(seen) == 1 and len(bodies) == 100
        seen.clear()
        bodies.clear()
        assert len(store.memories.get_by_session("s7", limit=100)) == 100
        assert len(bodies) == 100 and sum(count for _, count in seen) == 100
        bodies.clear()
        assert store.memories.count() == MANY and store.memories.count(session_id="s7") == 100
        assert store.memories.exists(wanted[0]) and store.status()["spaces"]["default"]["records"]["memories"] == MANY
        assert bodies == []


@pytest.mark.slow
def test_plans(big):
    connection = apsw.Connection(str(big))
    statements = [(sqlite_view._READ_ONE[want], (1, 8, b"k")) for want in sqlite_view._COLUMNS]
    statements += [(sqlite_view._READ_MANY[want], (1, 8, apsw.carray((b"k",)))) for want in sqlite_view._COLUMNS]
    for (by_index, _, continued, _), statement in sqlite_view._SCAN.items():
        values = (1, 8, 1) if by_index else (1, 8)
        behind = ((b"v", b"k") if by_index else (b"k",)) if continued else ()
        statements.append((statement, (*values, b"a", b"b", *behind, 100)))
    statements.append((sqlite_view._CHANGES, (1, 5, 10, 1, 5, 10, 10)))
    for statement, values in statements:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        for line in plan:
            assert not line.startswith(("SCAN r", "SCAN t")), (statement, plan)
            assert statement is sqlite_view._CHANGES or not line.startswith("USE TEMP B-TREE"), (statement, plan)
    connection.close()


def test_a_batch_of_unknown_entries_is_refused_alone(store):
    with pytest.raises(holdfast.StorageError, match="report it"):
        store._backend.committer.commit(Batch("default", [object()], "strict"))
    commit(store, put(store, b"k"))
    assert view(store).count(RAW) == 1


def test_verify_tells_what_sqlite_finds(tmp_path):
    with holdfast.open(tmp_path / "store.db") as store:
        store.kv.put("a", 1)
    connection = apsw.Connection(str(tmp_path / "store.db"))
    connection.pragma("writable_schema", 1)
    connection.execute("DELETE FROM sqlite_schema WHERE name = 'tombstones_by_revision'")
    connection.close()
    with holdfast.open(tmp_path / "store.db", read_only=True) as store:
        assert any(line.startswith("SQLite: ") for line in store.verify())


def test_a_commit_that_the_medium_turns_into_a_rollback_is_told_and_poisons_the_writer(tmp_path):
    with holdfast.open(tmp_path / "store.db") as store:
        store.kv.put("a", 1)
        store._backend._writer.set_commit_hook(lambda: True)
        with pytest.raises(holdfast.StorageError):
            store.kv.put("a", 2)
        assert store.kv.get("a") == 1
        with pytest.raises(holdfast.PoisonedError, match="open it again"):
            store.kv.put("a", 3)
        assert store.kv.get("a") == 1
    with holdfast.open(tmp_path / "store.db") as store:
        assert store.kv.put("a", 4).version == 2


def test_of_two_that_make_a_store_at_once_the_second_finds_it_made(tmp_path, monkeypatch):
    from holdfast.backends.sqlite import schema

    with holdfast.open(tmp_path / "store.db") as store:
        store.kv.put("a", 1)
    answers = [True, False]  # empty when it was opened, made by another process when the lock was got
    monkeypatch.setattr(schema, "_is_empty", lambda connection: answers.pop(0))
    with holdfast.open(tmp_path / "store.db") as store:
        assert store.kv.get("a") == 1
    assert answers == []


@pytest.mark.parametrize("by_scan", [False, True])
def test_a_record_and_its_blobs_are_of_one_state(tmp_path, monkeypatch, by_scan):
    from holdfast.backends.sqlite import view as module

    with holdfast.open(tmp_path / "store.db", durability="ephemeral") as store:
        memory = store.memories.store("x", embeddings={"v": [1.0]})
        real, overtaken = module.to_record, []

        def overtake(row):
            if not overtaken:
                overtaken.append(True)
                store.memories.update(memory.id, embeddings={"v": [2.0]})
            return real(row)

        monkeypatch.setattr(module, "to_record", overtake)
        scope = store.space("default")._scope
        if by_scan:
            record = scope.raw_scan(8, None, b"", b"\xff" * 20, want="blobs").items[0]
        else:
            record = scope.read_one(8, memory.id.bytes, "blobs")
        assert overtaken and record.version == 1
        assert holdfast.primitives.embedding.from_blobs(record.blobs) == {"v": [1.0]}
        assert store.memories.get(memory.id, embeddings=True).embeddings == {"v": [2.0]}


def test_compacting_while_somebody_reads_says_what_it_could_not_do(store, monkeypatch):
    monkeypatch.setattr("holdfast.backends.sqlite.backend.CHECKPOINT_SECONDS", 0.02)
    store.kv.put("k", "x" * 10_000)
    with store.space("default").snapshot() as seen:
        store.kv.delete("k")
        done = store.compact()
        assert len(done.notes) == 1 and "compact again" in done.notes[0] and seen.kv.exists("k")
    done = store.compact()
    assert done.notes == () and done.bytes_after < done.bytes_before and store.verify() == []


def test_a_compaction_that_fails_leaves_the_store_as_it_was(store):
    store.kv.put("k", 1)
    real = failing(store, "VACUUM", apsw.FullError("full"))
    with pytest.raises(holdfast.DiskFullError):
        store.compact()
    store._backend._writer = real
    store.kv.put("k", 2)
    assert store.kv.get("k") == 2 and store.verify() == []


def test_a_dropped_space_leaves_no_row(path, store):
    space = store.space("p")
    with space.run("r") as run:
        run.memories.store("alpha", embeddings={"m": [1.0]})
    space.kv.put("k", 1)
    space.kv.delete("k")
    assert space.memories.search("alpha")
    store.drop_space("p")
    connection = apsw.Connection(str(path))
    for table in ("records", "terms", "blobs", "tombstones", "journal", "text", "text_documents", "text_state"):
        assert list(connection.execute(f"SELECT count(*) FROM {table}")) == [(0,)], table
    connection.close()
