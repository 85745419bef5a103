"""Vector search: nothing is missed that a filter leaves, an index is as good as none, and can be lost at any time."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import holdfast
from holdfast import NewVector
from holdfast.search import graph, index, index_file, nearest
from holdfast.search import vector as search

COUNT, DIMENSION = 3000, 16
SEED = 20_26


def numbers(count, seed=SEED, dimension=DIMENSION):
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype("f4")


VECTORS, QUERIES = numbers(COUNT), numbers(20, seed=SEED + 1)


def fill(space, count=COUNT, *, name="notes", metric="cosine"):
    space.vectors.create_collection(name, dimension=DIMENSION, metric=metric)
    new = [NewVector(f"{n:05}", VECTORS[n], {"n": n, "third": n % 3 == 0}) for n in range(count)]
    space.vectors.insert_many(name, new)


@contextmanager
def opened(url, index_from=500, **arguments):
    with holdfast.open(url, durability="ephemeral", vector_index_from=index_from, **arguments) as store:
        yield store


@pytest.fixture
def indexed(url):
    with opened(url) as store:
        yield store.space("project")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def added(monkeypatch):
    """Count the vectors that are put into graphs."""
    counts = []
    add = graph.Graph.add

    def counted(self, labels, vectors):
        counts.append(len(labels))
        add(self, labels, vectors)

    monkeypatch.setattr(graph.Graph, "add", counted)

    def taken():
        total = sum(counts)
        counts.clear()
        return total

    return taken


def ids(hits):
    return [hit.record.id for hit in hits]


def shown(hits):
    return [(hit.record.id, hit.distance, hit.score) for hit in hits]


def recall(space, name="notes", **arguments):
    found = [
        (
            ids(space.vectors.search(name, one, **arguments)),
            ids(space.vectors.search(name, one, exact=True, **arguments)),
        )
        for one in QUERIES
    ]
    return sum(len({*some} & {*all}) for some, all in found) / sum(len(all) for _, all in found)


# Exact


def test_what_is_nearest_comes_first(space):
    fill(space, 300)
    for query in QUERIES[:5]:
        hits = space.vectors.search("notes", query, limit=7)
        near = VECTORS[:300].astype(float) @ query / np.linalg.norm(VECTORS[:300], axis=1) / np.linalg.norm(query)
        assert ids(hits) == [f"{n:05}" for n in np.argsort(-near)[:7]] and hits.exact
        assert [hit.distance for hit in hits] == pytest.approx(1 - np.sort(near)[::-1][:7])
        assert all(hit.record.vector is None for hit in hits)
    assert space.vectors.search("notes", VECTORS[3], limit=1, vectors=True)[0].record.vector == VECTORS[3].tolist()
    assert len(space.vectors.search("notes", QUERIES[0], limit=1000)) == 300


def test_ties_go_by_id_on_both_ways(indexed):
    indexed.vectors.create_collection("same", dimension=2)
    names = [f"{n}" for n in range(600)]
    random.Random(SEED).shuffle(names)
    indexed.vectors.insert_many("same", [NewVector(name, [1, 1]) for name in names])
    for exact in (True, False):
        hits = indexed.vectors.search("same", [1, 1], exact=exact)
        assert ids(hits) == sorted(names)[:10] and {hit.score for hit in hits} == {1.0}


def test_a_filter_never_costs_a_result(indexed):
    fill(indexed)
    everything = [one.id for one in indexed.vectors.list("notes", limit=COUNT)]
    for where, expected in (
        ({"n": 7}, ["00007"]),
        ({"n": {"$in": [1, 2, 99_999]}}, ["00001", "00002"]),
        ({"n": {"$gte": 10, "$lt": 14}, "third": True}, ["00012"]),
        ({"n": {"$lt": 5}}, everything[:5]),
        ({"absent": 1}, []),
        ({"third": {}}, []),
        ({}, everything),
    ):
        for exact in (True, False):
            hits = indexed.vectors.search("notes", QUERIES[0], limit=COUNT, where=where, exact=exact)
            assert sorted(ids(hits)) == expected
            few = indexed.vectors.search("notes", QUERIES[0], limit=3, where=where, exact=exact)
            assert len(few) == min(3, len(expected))
            if hits.exact and few.exact:
                assert shown(few) == shown(hits)[:3]


def test_a_filter_reads_no_vector_that_it_does_not_accept(path, monkeypatch):
    with opened(path) as store:
        fill(store, 400)
        read = []
        scope = store.space("default")._scope
        raw_read, raw_scan = scope.raw_read, scope.raw_scan
        monkeypatch.setattr(
            scope, "raw_read", lambda kind, keys, want: read.append((want, len(keys))) or raw_read(kind, keys, want)
        )
        monkeypatch.setattr(scope, "raw_scan", lambda *a, **k: read.append((k["want"], None)) or raw_scan(*a, **k))
        assert len(store.vectors.search("notes", QUERIES[0], where={"n": {"$in": [1, 5]}})) == 2
        assert sum(count for want, count in read if want == "blobs") == 2


def test_the_least_score(space):
    fill(space, 300)
    whole = space.vectors.search("notes", QUERIES[0], limit=300)
    least = whole[10].score
    assert space.vectors.search("notes", QUERIES[0], limit=300, min_score=least) == whole[:11]
    assert space.vectors.search("notes", QUERIES[0], min_score=1) == []
    assert len(space.vectors.search("notes", QUERIES[0], min_score=0)) == 10


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"vector": [1, 2]}, "vector"),
        ({"vector": [0] * DIMENSION}, "vector"),
        ({"vector": "x"}, "vector"),
        ({"limit": 0}, "limit"),
        ({"limit": None}, "limit"),
        ({"where": 5}, "where"),
        ({"min_score": 1.5}, "min_score"),
        ({"min_score": True}, "min_score"),
        ({"min_score": "1"}, "min_score"),
        ({"collection": ""}, "collection"),
    ],
)
def test_a_bad_search_names_its_field(space, arguments, field):
    fill(space, 3)
    with pytest.raises(holdfast.InvalidInputError) as caught:
        space.vectors.search(**{"collection": "notes", "vector": QUERIES[0], **arguments})
    assert caught.value.field == field


def test_there_must_be_a_collection(space):
    with pytest.raises(holdfast.NotFoundError, match="'notes'"):
        space.vectors.search("notes", [1])
    with pytest.raises(holdfast.InvalidInputError, match="vector_index_from"):
        holdfast.open("memory:", vector_index_from=0)


def test_a_view_cannot_be_searched(space):
    fill(space, 3)
    with space.snapshot() as view, pytest.raises(holdfast.UnsupportedError):
        view.vectors.search("notes", QUERIES[0])
    with space.run("r") as run:
        assert len(run.vectors.search("notes", QUERIES[0])) == 3


def test_without_the_extra_everything_is_compared_and_the_same(indexed, monkeypatch):
    fill(indexed, 600)
    whole = indexed.vectors.search("notes", QUERIES[0], exact=True)
    assert not indexed.vectors.search("notes", QUERIES[0]).exact
    monkeypatch.setattr(graph, "_library", lambda: None)
    monkeypatch.setattr(nearest, "numpy", lambda: None)
    hits = indexed.vectors.search("notes", QUERIES[0])
    assert hits.exact and hits == whole


def test_the_extra_may_be_missing(monkeypatch):
    graph._library.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "usearch", None)
        assert not graph.is_available()
    graph._library.cache_clear()
    assert graph.is_available()


# Through an index


@pytest.mark.parametrize("metric", nearest.METRICS)
def test_an_index_finds_what_comparing_all_finds(indexed, metric):
    fill(indexed, metric=metric)
    hits = indexed.vectors.search("notes", QUERIES[0])
    assert not hits.exact and len(hits) == 10
    assert recall(indexed) >= 0.95
    assert recall(indexed, limit=100) >= 0.95
    assert recall(indexed, where={"third": True}) >= 0.95
    exact = {hit.record.id: hit for hit in indexed.vectors.search("notes", QUERIES[0], limit=COUNT, exact=True)}
    assert all(exact[hit.record.id] == hit for hit in hits)
    assert shown(hits) == sorted(shown(hits), key=lambda one: (one[1], one[0]))


def alike(found, expected):
    """A graph may miss one."""
    return len(found) == len(expected) and len({*found} & {*expected}) >= len(expected) - 1


def test_an_index_follows_every_change(indexed, later):
    fill(indexed)
    vectors, query = indexed.vectors, QUERIES[0]
    first = ids(vectors.search("notes", query, limit=11, exact=True))
    assert alike(ids(vectors.search("notes", query, limit=11)), first)
    vectors.put("notes", "new", query)
    found = ids(vectors.search("notes", query))
    assert found[0] == "new" and alike(found, ["new", *first[:9]])
    vectors.update("notes", "new", vector=-query)
    assert alike(ids(vectors.search("notes", query)), first[:10])
    vectors.update("notes", "new", metadata={"k": 1})
    vectors.delete("notes", first[0])
    found = ids(vectors.search("notes", query))
    assert first[0] not in found and alike(found, first[1:])
    vectors.put("notes", "brief", query, ttl=5)
    indexed.kv.put("other", 1)
    assert ids(vectors.search("notes", query, limit=1)) == ["brief"]
    later(6)
    assert not vectors.search("notes", query).exact
    found = ids(vectors.search("notes", query))
    assert "brief" not in found and alike(found, first[1:])
    vectors.drop_collection("notes")
    with pytest.raises(holdfast.NotFoundError):
        vectors.search("notes", query)
    fill(indexed, 600)
    hits = vectors.search("notes", query)
    assert set(ids(hits)) <= {f"{n:05}" for n in range(600)} and not hits.exact
    vectors.drop_collection("notes")
    fill(indexed, 10)
    assert vectors.search("notes", query).exact


def test_a_collection_that_shrinks_is_compared_whole(indexed):
    fill(indexed, 600)
    assert not indexed.vectors.search("notes", QUERIES[0]).exact
    for n in range(200):
        indexed.vectors.delete("notes", f"{n:05}")
    assert not indexed.vectors.search("notes", QUERIES[0]).exact  # a little less is no reason
    for n in range(200, 360):
        indexed.vectors.delete("notes", f"{n:05}")
    assert not indexed.vectors.search("notes", QUERIES[0]).exact
    hits = indexed.vectors.search("notes", QUERIES[0])
    assert hits.exact and hits == indexed.vectors.search("notes", QUERIES[0], exact=True)


@pytest.mark.parametrize("count", [400, 600])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("metric", nearest.METRICS)
def test_very_small_and_very_great_numbers(count, scale, metric):
    if metric != "cosine" and (scale > 1 or count > 500):
        return  # no room for products in float32: a graph is of no use there
    with opened("memory:") as store:
        store.vectors.create_collection("notes", dimension=DIMENSION, metric=metric)
        store.vectors.insert_many("notes", [NewVector(f"{n}", VECTORS[n] * np.float32(scale)) for n in range(count)])
        for query in QUERIES * np.float32(scale):
            hits, exact = (store.vectors.search("notes", query, exact=one) for one in (False, True))
            assert hits == exact if count < 500 else alike(ids(hits), ids(exact))
            assert hits.exact is (count < 500)


def test_an_index_is_made_beforehand(store, added):
    space = store.space("project")
    with pytest.raises(holdfast.NotFoundError):
        space.vectors.refresh_search("notes")
    store._vector_search._index_from = 500
    fill(space, 600)
    fill(space, 100, name="small")
    fill(space, 20, name="tiny")
    store.refresh_search("project")
    assert added() == 600
    assert not space.vectors.search("notes", QUERIES[0]).exact and added() == 0
    with space.transaction() as tx, pytest.raises(holdfast.UnsupportedError):
        tx.vectors.refresh_search("notes")


# A small collection in memory


@pytest.mark.parametrize("metric", nearest.METRICS)
def test_a_flat_index_is_exact_and_follows_every_change(indexed, metric, added, monkeypatch):
    compared = []
    offer = search._offer
    monkeypatch.setattr(
        search, "_offer", lambda near, source, page: compared.append(len(page)) or offer(near, source, page)
    )
    fill(indexed, 400, metric=metric)
    for step in range(4):
        for query in QUERIES[:5]:
            for where in (None, {"third": True}, {"third": {"$in": [True, False]}, "n": {"$gt": 20}}):
                hits = indexed.vectors.search("notes", query, where=where)
                assert hits == indexed.vectors.search("notes", query, where=where, exact=True) and hits.exact
        indexed.vectors.put_many(
            "notes", [NewVector(f"{step * 7:05}", QUERIES[step]), NewVector(f"x{step}", VECTORS[step])]
        )
        indexed.vectors.delete("notes", f"{step * 50:05}")
    compared.clear()
    indexed.vectors.search("notes", QUERIES[0])
    assert sum(compared) < 100 and added() == 0


def test_a_flat_index_keeps_ties_and_great_numbers_in_order(indexed):
    for metric in nearest.METRICS:
        indexed.vectors.create_collection(metric, dimension=2, metric=metric)
        same = [NewVector(f"{n:03}", [1, 1]) for n in range(200)]
        far = [NewVector(f"far{n:03}", [3e38, -1e38]) for n in range(100)]
        indexed.vectors.insert_many(metric, same + far)
        for query in ([1, 1], [3e38, 3e38], [-3e38, 1]):
            hits = indexed.vectors.search(metric, query)
            assert hits == indexed.vectors.search(metric, query, exact=True) and hits.exact


def test_only_so_many_indexes_are_held(indexed, monkeypatch):
    monkeypatch.setattr(search, "_INDEXES_MOST", 2)
    for name in "abc":
        fill(indexed, 100, name=name)
        assert len(indexed.vectors.search(name, QUERIES[0])) == 10
    indexed.vectors.search("b", QUERIES[0])
    assert [key[1] for key in indexed._vector_search._indexes] == [b"0c\0\1", b"0b\0\1"]


def test_a_graph_of_which_most_was_replaced_is_made_anew(indexed, added, monkeypatch):
    monkeypatch.setattr(index, "WRITTEN_AFTER", 10)
    fill(indexed, 600)
    indexed.vectors.search("notes", QUERIES[0])
    assert added() == 600
    replaced = [NewVector(f"{n:05}", -VECTORS[n]) for n in range(400)]
    indexed.vectors.put_many("notes", replaced)
    assert not indexed.vectors.search("notes", QUERIES[0]).exact
    assert added() == 400 + 600 and recall(indexed) >= 0.95


def test_what_is_written_while_an_index_is_made_is_taken_in_once(indexed, monkeypatch):
    fill(indexed, 600)
    take_in, overtaken = index.CollectionIndex._take_in, []

    def overtake(self, view, keys):
        if not overtaken:
            overtaken.append(indexed.vectors.put("notes", keys[7].decode()[-7:-2], QUERIES[0]))
        take_in(self, view, keys)

    monkeypatch.setattr(index.CollectionIndex, "_take_in", overtake)
    assert ids(indexed.vectors.search("notes", QUERIES[0], limit=1)) == ["00007"] == [overtaken[0].id]
    known = indexed._vector_search._indexes["project", b"0notes\0\1"]
    assert len(known) == 600 == known._next_label


def test_more_proposals_than_are_worth_it_are_not_asked_for(indexed, monkeypatch):
    fill(indexed, 600)
    monkeypatch.setattr(search, "_PROPOSALS_MOST", 100)
    assert indexed.vectors.search("notes", QUERIES[0], limit=51).exact
    assert not indexed.vectors.search("notes", QUERIES[0], limit=50).exact


def test_spaces_and_collections_never_mix(indexed, url):
    fill(indexed, 600)
    fill(indexed, 600, name="notes2")
    indexed.vectors.put("notes", "mine", QUERIES[0])
    assert ids(indexed.vectors.search("notes", QUERIES[0], limit=1)) == ["mine"]
    assert "mine" not in ids(indexed.vectors.search("notes2", QUERIES[0]))


def test_damage_is_told_and_a_half_made_index_is_not_used(path):
    import apsw

    with opened(path) as store:
        fill(store, 600)
    connection = apsw.Connection(str(path))
    (data,) = next(connection.execute("SELECT data FROM blobs WHERE id = 500"))
    connection.execute("UPDATE blobs SET data = x'00' WHERE id = 500")
    with opened(path) as store:
        for _ in range(2):
            with pytest.raises(holdfast.CorruptionError):
                store.vectors.search("notes", QUERIES[0])
        connection.execute("UPDATE blobs SET data = ? WHERE id = 500", (data,))
        assert not store.vectors.search("notes", QUERIES[0]).exact and recall(store) >= 0.95


def test_while_one_thread_makes_an_index_others_compare(indexed, monkeypatch):
    fill(indexed, 600)
    begun, go_on = threading.Event(), threading.Event()
    add = graph.Graph.add

    def slow(self, labels, vectors):
        begun.set()
        assert go_on.wait(20)
        add(self, labels, vectors)

    monkeypatch.setattr(graph.Graph, "add", slow)
    found = []
    maker = threading.Thread(target=lambda: found.append(indexed.vectors.search("notes", QUERIES[0])))
    maker.start()
    assert begun.wait(20)
    assert indexed.vectors.search("notes", QUERIES[0]).exact
    go_on.set()
    maker.join(20)
    assert not found[0].exact and not indexed.vectors.search("notes", QUERIES[0]).exact


def test_threads_that_write_and_search(indexed):
    fill(indexed, 600)
    errors = []

    def work(number):
        try:
            rng = random.Random(number)
            for n in range(15):
                indexed.vectors.put("notes", f"{number}-{n}", QUERIES[rng.randrange(20)] + number / 100)
                assert len(indexed.vectors.search("notes", QUERIES[n])) == 10
                indexed.vectors.delete("notes", f"{number}-{rng.randrange(n + 1)}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and recall(indexed) >= 0.95


def test_a_search_does_not_hold_the_event_loop_up(url, monkeypatch):
    real = search.VectorSearch.search

    def slow(self, *arguments):
        time.sleep(0.3)
        return real(self, *arguments)

    monkeypatch.setattr(search.VectorSearch, "search", slow)

    async def main():
        async with await holdfast.open_async(url) as store:
            await store.vectors.create_collection("notes", dimension=2)
            await store.vectors.insert("notes", "a", [1, 0])
            ticks = 0
            task = asyncio.create_task(store.vectors.search("notes", [1, 0]))
            while not task.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert ids(task.result()) == ["a"] and ticks > 10
            assert [one.id for one in await store.vectors.list("notes")] == ["a"]
            assert (await store.vectors.get("notes", "a")).vector == [1, 0]
            assert await store.vectors.drop_collection("notes")

    asyncio.run(main())


# On disk


def folder_of(path):
    return path.with_name(path.name + ".vectors")


def made(path, count=COUNT):
    with opened(path) as store:
        fill(store, count)
        assert not store.vectors.search("notes", QUERIES[0]).exact
        (found,) = store._vector_search._indexes.values()
        found.write(1)
    return next(folder_of(path).glob("*.state")), next(folder_of(path).glob("*.graph"))


def test_an_index_is_not_made_again(path, added):
    made(path)
    added()
    with opened(path) as store:
        before = recall(store)
        assert added() == 0 and before >= 0.95
        store.vectors.put("notes", "new", QUERIES[0])
        store.vectors.delete("notes", "00000")
        assert ids(store.vectors.search("notes", QUERIES[0], limit=1)) == ["new"] and added() == 1
    with opened(path) as store:  # so little was not worth writing
        assert ids(store.vectors.search("notes", QUERIES[0], limit=1)) == ["new"] and added() == 1
        assert "00000" not in ids(store.vectors.search("notes", VECTORS[0]))


def test_what_changed_while_nobody_searched_is_taken_in(path, added):
    made(path)
    with opened(path) as store:
        store.vectors.put_many("notes", [NewVector(f"{n:05}", -VECTORS[n]) for n in range(100)])
        for n in range(100, 120):
            store.vectors.delete("notes", f"{n:05}")
        store.vectors.update("notes", "00130", metadata={"only": "metadata"})
    added()
    with opened(path) as store:
        assert recall(store) >= 0.95 and added() == 101


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("which", [0, 1], ids=["state", "graph"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: flip(data, 0),
        lambda data: flip(data, len(data) // 2),
        lambda data: flip(data, len(data) - 1),
        lambda data: b"not an index at all",
        None,
    ],
    ids=["empty", "short by one", "half", "first", "middle", "last", "other", "gone"],
)
def test_a_damaged_index_is_made_anew(path, added, caplog, which, harm):
    file = made(path, 600)[which]
    if harm is None:
        file.unlink()
    else:
        file.write_bytes(harm(file.read_bytes()))
    added()
    with caplog.at_level(logging.WARNING, "holdfast"), opened(path) as store:
        assert recall(store) >= 0.95 and added() == 600
    assert "made anew" in caplog.text or (harm is None and which == 0)
    with opened(path) as store:
        assert recall(store) >= 0.95 and not store.vectors.search("notes", QUERIES[0]).exact


def test_an_index_of_a_newer_version_is_made_anew(path, added, caplog, monkeypatch):
    made(path, 600)
    added()
    monkeypatch.setattr(index_file, "_VERSION", 0)
    with caplog.at_level(logging.WARNING, "holdfast"), opened(path) as store:
        assert recall(store) >= 0.95 and added() == 600
    assert "not what was written" in caplog.text


def test_a_graph_that_usearch_refuses_is_made_anew(path, added, caplog, monkeypatch):
    made(path, 600)
    added()

    def refused(self, data):
        raise holdfast.SerializationError("usearch cannot read the graph")

    monkeypatch.setattr(graph.Graph, "load", refused)
    with caplog.at_level(logging.WARNING, "holdfast"), opened(path) as store:
        assert recall(store) >= 0.95 and added() == 600
    assert "usearch cannot read" in caplog.text
    monkeypatch.undo()
    with pytest.raises(holdfast.SerializationError):
        graph.Graph(2, "dot").load(b"nonsense")


def test_an_index_of_another_history_is_brought_in_line(path, tmp_path, added):
    """The file of the store was replaced by an older copy, which went on in its own way past where the index was."""
    with opened(path) as store:
        fill(store, 600)
    copy = path.read_bytes()
    with opened(path) as store:
        for n in range(100):
            store.vectors.put("notes", f"{n:05}", -VECTORS[n])
        store.vectors.put("notes", "lost", QUERIES[0])
        assert ids(store.vectors.search("notes", QUERIES[0], limit=1)) == ["lost"]
        store._vector_search._indexes["default", b"0notes\0\1"].write()
    path.write_bytes(copy)
    with opened(path, index_from=100_000) as store:
        for n in range(50, 200):
            store.vectors.put("notes", f"{n:05}", VECTORS[n + 1000])
    added()
    with opened(path) as store:
        assert "lost" not in ids(store.vectors.search("notes", QUERIES[0]))
        assert added() == 200 and recall(store) >= 0.95


def test_an_index_of_a_collection_of_that_name_before_is_not_used(path, added):
    made(path, 600)
    with opened(path, index_from=100_000) as store:
        with store.transaction() as tx:
            tx.vectors.drop_collection("notes")
        fill(store, 500)
    added()
    with opened(path) as store:
        assert not store.vectors.search("notes", QUERIES[0]).exact and added() == 500


def test_dropping_a_collection_removes_its_index(path):
    state, kept = made(path, 600)
    with opened(path, read_only=True) as store, pytest.raises(holdfast.ReadOnlyError):
        store.vectors.drop_collection("notes")
    with opened(path) as store:
        store.vectors.drop_collection("notes")
    assert not state.exists() and not kept.exists()


def test_a_reader_writes_nothing(path, added):
    with opened(path, index_from=100_000) as store:
        fill(store, 1200)
    with opened(path, read_only=True) as reader:
        assert recall(reader) >= 0.95
    assert not folder_of(path).exists()
    with opened(path) as store:
        store.vectors.search("notes", QUERIES[0])
        (found,) = store._vector_search._indexes.values()
        found.write()
    names = sorted(one.name for one in folder_of(path).iterdir())
    added()
    with opened(path, read_only=True) as reader:
        assert recall(reader) >= 0.95 and added() == 0
    assert sorted(one.name for one in folder_of(path).iterdir()) == names


def test_an_index_that_cannot_be_written_costs_nothing_else(path, caplog):
    folder_of(path).write_text("in the way")
    with caplog.at_level(logging.WARNING, "holdfast"), opened(path) as store:
        fill(store, 1200)
        assert recall(store) >= 0.95
    assert caplog.text.count("could not be written") == 1


def test_a_graph_that_usearch_cannot_write_costs_nothing_else(path, caplog, monkeypatch):
    def refused(self):
        raise RuntimeError("no")

    monkeypatch.setattr(graph._library()[1].Index, "save", refused)
    with caplog.at_level(logging.WARNING, "holdfast"), opened(path) as store:
        fill(store, 1200)
        assert recall(store) >= 0.95
    assert "usearch cannot write" in caplog.text and not list(folder_of(path).glob("*.state"))


def test_two_stores_on_one_file_share_an_index(path, added):
    made(path)
    added()
    with opened(path) as one, opened(path) as other:
        assert recall(one) >= 0.95 and recall(other) >= 0.95 and added() == 0
        one.vectors.put_many("notes", [NewVector(f"x{n}", -VECTORS[n]) for n in range(1100)])
        assert recall(one) >= 0.95 and recall(other) >= 0.95
    assert len(list(folder_of(path).glob("*.graph"))) == 1


def test_one_writes_and_the_other_lets_it_be(path):
    state, _ = made(path, 600)
    before = state.read_bytes()
    with opened(path) as store:
        store.vectors.search("notes", QUERIES[0])
        (found,) = store._vector_search._indexes.values()
        lock = index_file.Disk().lock(state.with_suffix(".lock"), "somebody")
        found.write()
        assert state.read_bytes() == before
        lock.release()
        found.write()
        assert state.read_bytes() != before


def test_memory_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened("memory:") as store:
        fill(store, 600)
        assert not store.vectors.search("notes", QUERIES[0]).exact
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_folder_keeps_its_indexes_there(tmp_path, monkeypatch):
    with opened("memory:") as store:
        monkeypatch.setattr(store._backend, "stats", lambda: {"path": str(tmp_path)})
        fill(store, 1200)
        assert not store.vectors.search("notes", QUERIES[0]).exact
    assert len(list((tmp_path / "vectors").iterdir())) == 3


def test_a_child_of_a_fork_leaves_the_index_to_its_parent(path, monkeypatch):
    with opened(path) as store:
        fill(store, 1200)
        monkeypatch.setattr(index, "WRITTEN_AFTER", 100_000)
        store.vectors.search("notes", QUERIES[0])
        found = store._vector_search
        monkeypatch.setattr(index.CollectionIndex, "write", lambda *arguments: pytest.fail("it was written"))
        process = found._process
        found._process = None
        found.close()
        found._process = process
        monkeypatch.undo()
