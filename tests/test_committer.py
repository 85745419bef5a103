"""The commit queue: groups, order, refusals, handing on the lead, and what an interrupt or a failing medium leaves."""

from __future__ import annotations

import threading

import pytest

from holdfast import staging
from holdfast.core import DropJournal, DropSpace
from holdfast.errors import ConflictError, InvalidInputError, StorageError, WriteError
from holdfast.keys import encode_key
from holdfast.model import Batch, CountRead, Guard, RangeRead, ReadSet
from holdfast.store import open as open_store
from holdfast.testing.contract import FIRST, LAST, commit, put, view
from holdfast.testing.toys import RAW, Increment, RawBroken, RawDelete, toy_registry


@pytest.fixture(params=["memory:", "sqlite"])
def store(request, tmp_path):
    url = request.param if request.param == "memory:" else str(tmp_path / "store.db")
    with open_store(url, registry=toy_registry()) as store:
        yield store


def group(store, *batches):
    """Commit batches as one group; return their tickets."""
    committer = store._backend.committer
    tickets, leads = [], []
    for batch in batches:
        leads.append(committer.submit(batch, tickets.append))
    assert leads == [True] + [False] * (len(batches) - 1)
    committer.lead()
    return [next(ticket for ticket in tickets if ticket.batch is batch) for batch in batches]


def batch(*steps, space="default", durability="strict", reads=None, run=None):
    return Batch(space, list(steps), durability, run, reads)


def errors(tickets):
    return [type(ticket.error) if ticket.error else None for ticket in tickets]


def refuse(record):
    raise ConflictError("refused")


def test_a_group_is_one_step_and_each_batch_has_a_sequence(store):
    steps = []
    begin = store._backend.committer._begin_step
    store._backend.committer._begin_step = lambda durability: steps.append(durability) or begin(durability)
    tickets = group(
        store,
        batch(put(store, b"a", 1), durability="ephemeral"),
        batch(put(store, b"a", 2), put(store, b"b", 1), durability="buffered"),
        batch(put(store, b"c", 1), space="other"),
        batch(RawDelete(b"b"), durability="ephemeral"),
    )
    assert errors(tickets) == [None] * 4
    assert [ticket.receipt.sequence for ticket in tickets] == [1, 2, 1, 3]
    assert {ticket.receipt.durability for ticket in tickets} == {"strict"} and steps == ["strict"]
    times = [tickets[n].receipt.time for n in (0, 1, 3)]
    assert times == sorted(set(times))
    a, b = view(store).read(RAW, [b"a", b"b"])
    assert (a.version, a.revision, b) == (2, 2, None)
    assert view(store, "other").count(RAW) == 1 and store.verify() == []


def test_a_refused_batch_fails_alone(store):
    tickets = group(
        store,
        batch(put(store, b"a", 1)),
        batch(put(store, b"x"), Guard(RAW, b"a", refuse)),
        batch(object()),
        batch(put(store, b"x"), RawBroken(b"a")),
        batch(put(store, b"k" * 600)),
        batch(put(store, b"a", 2)),
    )
    assert errors(tickets) == [None, ConflictError, StorageError, StorageError, InvalidInputError, None]
    assert isinstance(tickets[3].error.__cause__, ZeroDivisionError)
    assert tickets[5].receipt.sequence == 2 and view(store).count(RAW) == 1


def test_an_erasure_is_alone_in_its_step(store):
    steps = []
    begin = store._backend.committer._begin_step
    run = b"r" * 16
    commit(store, put(store, b"before"), run=run)
    store._backend.committer._begin_step = lambda durability: steps.append(durability) or begin(durability)
    tickets = group(
        store,
        batch(put(store, b"a"), run=run),
        batch(DropSpace()),
        batch(put(store, b"b"), DropSpace()),
        batch(put(store, b"c"), run=run),
        batch(put(store, b"other"), space="other"),
        batch(DropJournal(run)),
        batch(put(store, b"d"), run=run),
    )
    assert errors(tickets) == [None, None, InvalidInputError, None, None, None, None] and len(steps) == 5
    assert [ticket.receipt.sequence for ticket in tickets if ticket.receipt] == [2, 3, 4, 1, 5, 6]
    found = view(store).read(RAW, [b"before", b"a", b"b", b"c", b"d"])
    assert [record and record.revision for record in found] == [None, None, None, 4, 6]
    assert [row.revision for row in view(store).journal(run, (0, 0), 9)] == [6]
    assert view(store).count(RAW) == 2 and view(store, "other").count(RAW) == 1 and store.verify() == []


def test_a_group_of_refusals_writes_nothing(store):
    assert errors(group(store, batch(Guard(RAW, b"a", refuse)), batch(RawDelete(b"a")))) == [ConflictError, None]
    assert view(store).head().sequence == 0


def test_guards_in_a_group_see_the_batches_before(store):
    seen = []
    guard = Guard(RAW, b"k", lambda record: seen.append(record and record.version))
    group(store, batch(guard, put(store, b"k")), batch(guard, put(store, b"k")), batch(guard, RawDelete(b"k")))
    assert seen == [None, 1, 2]


def test_a_record_made_and_removed_in_one_group_was_never_there(store):
    group(store, batch(put(store, b"k", 1, (1, b"t"))), batch(RawDelete(b"k")))
    assert (view(store).count(RAW), view(store).changes(0, 9), view(store).count(RAW, 1, FIRST, LAST)) == (0, [], 0)
    assert view(store).head().sequence == 2 and store.verify() == []


def test_reads_are_validated_against_the_batches_before(store):
    commit(store, put(store, b"a", 1))
    reads = ReadSet(1, {(RAW, b"a"): 1, (RAW, b"none"): 0}, [], [])
    tickets = group(
        store,
        batch(put(store, b"b"), reads=reads),
        batch(put(store, b"a", 2)),
        batch(put(store, b"c"), reads=reads),
    )
    assert errors(tickets) == [None, None, ConflictError]
    assert tickets[2].error.keys == (("raw", repr(b"a")),)
    gone = group(store, batch(RawDelete(b"a")), batch(put(store, b"c"), reads=ReadSet(3, {(RAW, b"a"): 3}, [], [])))
    assert errors(gone) == [None, ConflictError]


@pytest.mark.parametrize("written", [b"m", b"z"])
def test_a_batch_with_ranges_waits_for_the_batches_before_it(store, written):
    commit(store, put(store, b"l", 1))
    page = view(store).scan(RAW, None, b"a", b"n")
    items = tuple(zip(page.places, [one.revision for one in page.items], strict=True))
    scan = RangeRead(RAW, None, b"a", b"n", None, False, None, items)
    tickets = group(
        store,
        batch(put(store, written)),
        batch(put(store, b"scanned"), reads=ReadSet(1, {}, [scan], [])),
        batch(put(store, b"counted"), reads=ReadSet(1, {}, [], [CountRead(RAW, None, b"", b"", 1)])),
        batch(put(store, b"free")),
    )
    assert errors(tickets) == [None, ConflictError if written == b"m" else None, ConflictError, None]


@pytest.mark.parametrize("changes", [1, 300])
@pytest.mark.parametrize(
    ("reverse", "last", "written", "conflict"),
    [
        (False, 2, b"b", True),
        (False, 2, b"c1", False),
        (False, 2, b"a0", True),
        (True, 3, b"c1", True),
        (True, 3, b"a1", False),
        (False, None, b"d9", True),
        (False, None, b"e", False),
    ],
)
def test_a_range_reaches_to_the_last_item_taken(store, changes, reverse, last, written, conflict):
    keys = [b"a1", b"b0", b"c0", b"d0"]
    commit(store, *(put(store, key) for key in keys))
    page = view(store).scan(RAW, None, b"a", b"e", reverse=reverse, limit=last or 9)
    items = tuple(zip(page.places, [one.revision for one in page.items], strict=True))
    scan = RangeRead(RAW, None, b"a", b"e", None, reverse, page.cursor, items)
    written = b"a1" + b"x" if written == b"a1" else written
    if last == 3 and not conflict:
        scan = RangeRead(RAW, None, b"a", b"e", None, True, page.places[1], items[:2])
    commit(store, put(store, written), *(put(store, b"zz%d" % n) for n in range(changes - 1)))
    ticket = group(store, batch(put(store, b"result"), reads=ReadSet(1, {}, [scan], [])))[0]
    assert errors([ticket]) == [ConflictError if conflict else None]


def test_keys_are_read_again_after_many_changes(store):
    commit(store, put(store, b"a"), put(store, b"b"))
    commit(store, *(put(store, b"z%d" % n) for n in range(300)))
    same = ReadSet(1, {(RAW, b"a"): 1, (RAW, b"none"): 0}, [], [])
    assert errors(group(store, batch(put(store, b"r"), reads=same))) == [None]
    commit(store, put(store, b"b"), *(put(store, b"z%d" % n) for n in range(300)))
    changed = ReadSet(1, {(RAW, b"a"): 1, (RAW, b"b"): 1}, [], [])
    assert errors(group(store, batch(put(store, b"r"), reads=changed))) == [ConflictError]
    unknown = ReadSet(1, {(99, b"a"): 5}, [], [])
    ticket = group(store, batch(put(store, b"r"), reads=unknown))[0]
    assert ticket.error.keys[0][0] == "kind 99"


def test_a_journal_row_keeps_a_base_once(store):
    run = b"r" * 16
    commit(store, put(store, b"k", 1), Increment(encode_key("c")))
    tickets = group(
        store,
        batch(put(store, b"k", 2), Increment(encode_key("c")), run=run),
        batch(put(store, b"k", 3), put(store, b"k", 4), run=run),
        batch(put(store, b"k", 5)),
        batch(put(store, b"k", 6), run=run),
    )
    assert errors(tickets) == [None] * 4
    bases = [row.bases for row in view(store).journal(run, (0, 0), 9)]
    assert [len(base) for base in bases] == [1, 1, 0, 0, 1]
    assert staging.decode_base(bases[0][0][1]).body == b"" or store._backend.capabilities.name == "memory"
    assert staging.decode_base(bases[1][0][1]).body != b""


def test_the_lead_passes_to_a_thread_that_waits(store):
    inside, go_on = threading.Event(), threading.Event()
    begin = store._backend.committer._begin_step
    threads, leaders = [], []

    def slow(durability):
        leaders.append(threading.get_ident())
        inside.set()
        go_on.wait(10)
        return begin(durability)

    store._backend.committer._begin_step = slow
    for n in range(5):
        threads.append(threading.Thread(target=commit, args=(store, put(store, bytes([n])))))
        threads[-1].start()
        assert inside.wait(10)
    while len(store._backend.committer._waiting) < 4:
        pass
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert view(store).count(RAW) == 5 and len(set(leaders)) == 2
    assert view(store).head().sequence == 5


def test_one_payload_alone_takes_its_turn_where_somebody_leads(store):
    """The queue's order holds for it: it neither overtakes a leader nor keeps the lead from who waits."""
    committer = store._backend.committer
    committer._leader = leader = object()
    done = []
    thread = threading.Thread(
        target=lambda: done.append(committer.commit_one("default", put(store, b"k"), store.durability))
    )
    thread.start()
    while not committer._waiting:
        pass
    assert not done
    with committer._mutex:
        assert committer._leader is leader and committer._pass_on()
    thread.join()
    assert done[0][b"k"].revision == 1 and committer._leader is None


def test_a_step_that_cannot_begin_fails_the_group_and_the_next_goes_on(store):
    committer = store._backend.committer
    begin = committer._begin_step

    def broken(durability):
        raise WriteError("no medium")

    committer._begin_step = broken
    assert errors(group(store, batch(put(store, b"a")), batch(put(store, b"b")))) == [WriteError, WriteError]
    with pytest.raises(WriteError):
        commit(store, put(store, b"a"))
    committer._begin_step = begin
    assert commit(store, put(store, b"a")).sequence == 1


class Interrupted:
    """A step that is interrupted in ``publish``, before or after it took effect."""

    def __init__(self, step, after):
        self.step, self.after, self.view, self.abandon = step, after, step.view, step.abandon

    def publish(self, staged):
        if self.after:
            self.step.publish(staged)
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_leaves_a_batch_undone_or_done_whole(store, after):
    committer = store._backend.committer
    begin = committer._begin_step
    committer._begin_step = lambda durability: Interrupted(begin(durability), after)
    with pytest.raises(KeyboardInterrupt):
        commit(store, put(store, b"a"), put(store, b"b"))
    tickets = []
    assert committer.submit(batch(put(store, b"c")), tickets.append)
    with pytest.raises(KeyboardInterrupt):
        committer.lead()
    committer._begin_step = begin
    assert view(store).count(RAW) == (3 if after else 0)
    commit(store, put(store, b"d"))
    assert view(store).count(RAW) == 4 if after else 2  # what waited is committed by the next leader
    assert len(tickets) == 1 and store.verify() == []


def test_an_interrupted_follower_leaves_the_queue(store, monkeypatch):
    committer = store._backend.committer
    inside, go_on = threading.Event(), threading.Event()
    begin = committer._begin_step

    def slow(durability):
        inside.set()
        go_on.wait(10)
        return begin(durability)

    committer._begin_step = slow
    leader = threading.Thread(target=commit, args=(store, put(store, b"a")))
    leader.start()
    assert inside.wait(10)

    class Wake:
        """A lock on which waiting is interrupted."""

        def __init__(self):
            self.waits = 0

        def acquire(self):
            self.waits += 1
            if self.waits == 2:
                raise KeyboardInterrupt

    real, threading.Lock = threading.Lock, Wake
    try:
        with pytest.raises(KeyboardInterrupt):
            commit(store, put(store, b"b"))
    finally:
        threading.Lock = real
    go_on.set()
    leader.join(10)
    assert commit(store, put(store, b"c")).sequence == 2
    assert [record and record.key for record in view(store).read(RAW, [b"a", b"b", b"c"])] == [b"a", None, b"c"]


def test_a_leader_that_is_interrupted_hands_the_lead_on(store):
    committer = store._backend.committer
    inside, go_on = threading.Event(), threading.Event()
    begin = committer._begin_step
    caught = []

    def interrupted(durability):
        committer._begin_step = begin
        inside.set()
        go_on.wait(10)
        raise KeyboardInterrupt

    def lead():
        try:
            commit(store, put(store, b"a"))
        except KeyboardInterrupt as error:
            caught.append(error)

    committer._begin_step = interrupted
    threads = [threading.Thread(target=lead)]
    threads[0].start()
    assert inside.wait(10)
    for key in (b"b", b"c"):
        threads.append(threading.Thread(target=commit, args=(store, put(store, key))))
        threads[-1].start()
    while len(committer._waiting) < 2:
        pass
    go_on.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(caught) == 1 and view(store).count(RAW) == 2 and committer._leader is None


def test_ranges_of_other_kinds_and_same_counts_are_no_conflict(store):
    store.kv.put("k", 1)
    commit(store, put(store, b"a"), put(store, b"b"))
    commit(store, RawDelete(b"a"), put(store, b"c"))
    other = RangeRead(99, None, b"", b"z", None, False, None, ())
    reads = ReadSet(2, {}, [other], [CountRead(RAW, None, b"", b"", 2), CountRead(99, None, b"", b"", 7)])
    assert errors(group(store, batch(put(store, b"r"), reads=reads))) == [None]


def test_what_was_read_in_the_same_group_is_still_true(store):
    commit(store, put(store, b"a"))
    reads = ReadSet(1, {(RAW, b"a"): 1}, [], [])
    tickets = group(store, batch(put(store, b"b")), batch(put(store, b"c"), reads=reads), batch(put(store, b"d")))
    assert errors(tickets) == [None] * 3


def test_an_answer_that_cannot_be_delivered_does_not_stop_the_others(store, caplog):
    committer, told = store._backend.committer, []

    def deaf(ticket):
        raise RuntimeError("nobody listens")

    first, second = batch(put(store, b"a", 1)), batch(put(store, b"b", 1))
    committer.submit(first, deaf)
    committer.submit(second, told.append)
    committer.lead()
    assert [ticket.error for ticket in told] == [None]  # it has committed, whatever became of the first
    assert told[0].receipt.sequence == 2 and "nobody listens" in caplog.text
    assert committer.commit(batch(put(store, b"c", 1))).receipt.sequence == 3


def test_a_worker_that_is_interrupted_hands_the_lead_to_a_thread(store):
    committer = store._backend.committer
    begin, done = committer._begin_step, []

    def follow():
        done.append(committer.commit(batch(put(store, b"b", 1))).receipt.sequence)

    follower = threading.Thread(target=follow)

    def interrupted(durability):
        committer._begin_step = begin
        follower.start()
        while not committer._waiting:
            pass
        raise KeyboardInterrupt

    committer._begin_step = interrupted
    committer.submit(batch(put(store, b"a", 1)), lambda ticket: None)
    with pytest.raises(KeyboardInterrupt):
        committer.lead()
    follower.join()
    assert len(done) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_direct_commit_that_is_interrupted_while_it_leads_others_gives_the_lead_away(error):
    """Else nobody would ever lead again, and every later commit would wait for ever."""
    store = open_store("memory:", registry=toy_registry())
    committer = store._backend.committer
    begin, direct, done = committer._begin_step, committer._direct, []

    def joined(*what):
        written = direct(*what)
        committer.submit(batch(put(store, b"a", 1)), done.append)
        return written

    def interrupted(durability):
        committer._begin_step = begin
        raise error

    committer._direct, committer._begin_step = joined, interrupted
    with pytest.raises(error):
        store.kv.put("k", 1)
    committer._direct = direct
    assert store.kv.get("k") == 1 and committer._leader is None
    store.kv.put("k", 2)
    assert [ticket.error for ticket in done] == [None]  # what waited is committed by the next
    store.close()
