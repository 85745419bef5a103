"""vector: collections, what fits into them, versions and conditions, transactions, runs, dropping."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, InvalidInputError, NewVector, NotFoundError
from holdfast.primitives import vector as kind
from holdfast.primitives import vectors as face
from holdfast.search.where import Where


@pytest.fixture
def notes(space):
    space.vectors.create_collection("notes", dimension=3, metadata={"model": "m"})
    return space


def ids(records):
    return [one.id for one in records]


def test_a_collection_is_made_once(space):
    made = space.vectors.create_collection("notes", dimension=3, metric="dot", metadata={"a": 1})
    assert (made.name, made.dimension, made.metric, made.metadata, made.version) == ("notes", 3, "dot", {"a": 1}, 1)
    same = {"dimension": 3, "metric": "dot", "metadata": {"a": 1}}
    assert space.vectors.create_collection("notes", exist_ok=True, **same) == made == space.vectors.collection("notes")
    with pytest.raises(ConflictError, match="exists already, with dimension 3"):
        space.vectors.create_collection("notes", **same)
    for other in ({"dimension": 4}, {"metric": "cosine"}, {"metadata": {}}):
        with pytest.raises(ConflictError, match="exists already"):
            space.vectors.create_collection("notes", exist_ok=True, **{**same, **other})
    assert space.vectors.collection("notes") == made and space.vectors.collection("other") is None
    space.vectors.create_collection("a", dimension=1)
    page = space.vectors.collections(limit=1)
    assert [one.name for one in page] == ["a"]
    assert list(space.vectors.collections(after=page.cursor)) == [made]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": True}, "dimension"),
        ({"dimension": 2.0}, "dimension"),
        ({"dimension": 65_537}, "dimension"),
        ({"metric": "manhattan"}, "metric"),
        ({"metadata": [1]}, "metadata"),
    ],
)
def test_a_bad_collection_is_refused(space, arguments, field):
    with pytest.raises(InvalidInputError) as caught:
        space.vectors.create_collection(**{"name": "notes", "dimension": 3, **arguments})
    assert caught.value.field == field and not list(space.changes())


def test_insert_put_get(notes):
    first = notes.vectors.insert("notes", "a", [1, 2.5, -3], metadata={"lang": "en"})
    assert (first.collection, first.id, first.vector, first.version) == ("notes", "a", None, 1)
    got = notes.vectors.get("notes", "a")
    assert got.vector == [1.0, 2.5, -3.0] and got.metadata == {"lang": "en"} and got.revision == first.revision
    assert notes.vectors.get("notes", "a", vectors=False) == first
    with pytest.raises(ConflictError, match="must not exist"):
        notes.vectors.insert("notes", "a", [1, 1, 1])
    again = notes.vectors.put("notes", "a", [0, 0, 1])
    assert (again.version, again.created_at, again.metadata) == (2, first.created_at, {})
    assert again.updated_at > first.updated_at and notes.vectors.get("notes", "a").vector == [0, 0, 1]
    assert notes.vectors.get("notes", "b") is None and not notes.vectors.exists("notes", "b")
    assert notes.vectors.exists("notes", "a") and notes.vectors.count("notes") == 1
    assert notes.vectors.get_batch("notes", ["x", "a", "a"])[0] is None
    assert ids(notes.vectors.get_batch("notes", ["a", "a"], vectors=False)) == ["a", "a"]
    assert notes.vectors.get("other", "a") is None and notes.vectors.count("other") == 0
    assert notes.vectors.delete("notes", "a") and not notes.vectors.delete("notes", "a")
    assert notes.vectors.count("notes") == 0
    assert notes.vectors.insert("notes", "a", [1, 1, 1]).version == 1


def test_what_is_read_is_the_nearest_float32(notes):
    notes.vectors.put("notes", "a", [0.1, 1e-45, 3.4e38])
    assert notes.vectors.get("notes", "a").vector == array("f", [0.1, 1e-45, 3.4e38]).tolist()


@pytest.mark.parametrize(
    "bad", [[1, 2], [1, 2, 3, 4], [0, 0, 0], [0.0, -0.0, 1e-60], [1, 2, float("nan")], "abc", b"abc", None], ids=repr
)
def test_a_vector_that_does_not_fit_changes_nothing(notes, bad):
    before = list(notes.changes())
    writes = (
        lambda: notes.vectors.insert("notes", "a", bad),
        lambda: notes.vectors.put("notes", "a", bad),
        lambda: notes.vectors.update("notes", "a", vector=bad),
    )
    for write in writes:
        with pytest.raises(InvalidInputError) as caught:
            write()
        assert caught.value.field == "vector"
    with pytest.raises(InvalidInputError) as caught:
        notes.vectors.put_many("notes", [NewVector("a", [1, 1, 1]), NewVector("b", bad)])
    assert caught.value.field == "vectors[1].vector" and list(notes.changes()) == before


def test_zero_has_a_place_but_no_direction(space):
    space.vectors.create_collection("e", dimension=1, metric="euclidean")
    assert space.vectors.put("e", "zero", [0]).version == 1


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda v: v.put("", "a", [1, 1, 1]), "collection"),
        (lambda v: v.put("notes", "", [1, 1, 1]), "id"),
        (lambda v: v.put("notes", 7, [1, 1, 1]), "id"),
        (lambda v: v.put("notes", "x" * 505, [1, 1, 1]), "id"),
        (lambda v: v.put("notes", "a", [1, 1, 1], metadata=[]), "metadata"),
        (lambda v: v.put("notes", "a", [1, 1, 1], metadata={"a": {1}}), "metadata['a']"),
        (lambda v: v.put("notes", "a", [1, 1, 1], metadata={"a": "x" * 17_000_000}), "metadata"),
        (lambda v: v.put("notes", "a", [1, 1, 1], expected_version=-1), "expected_version"),
        (lambda v: v.put("notes", "a", [1, 1, 1], ttl=0), "ttl"),
        (lambda v: v.update("notes", "a", metadata=5), "metadata"),
        (lambda v: v.update("notes", "a", expires_at=5), "expires_at"),
        (lambda v: v.put_many("notes", [["a", [1, 1, 1]]]), "vectors[0]"),
        (lambda v: v.put_many("notes", NewVector), "vectors"),
        (lambda v: v.insert_many("notes", [NewVector("", [1, 1, 1])]), "vectors[0].id"),
        (
            lambda v: v.insert_many("notes", [NewVector("a", [1, 1, 1], {"a": float("inf")})]),
            "vectors[0].metadata['a']",
        ),
        (lambda v: v.get_batch("notes", ["a", 5]), "ids[1]"),
        (lambda v: v.list("notes", limit=0), "limit"),
        (lambda v: v.list("notes", after="nonsense"), "after"),
    ],
)
def test_bad_input_names_its_field_and_changes_nothing(notes, call, field):
    before = list(notes.changes())
    with pytest.raises(InvalidInputError) as caught:
        call(notes.vectors)
    assert caught.value.field.replace(".a", "['a']") == field and list(notes.changes()) == before


def test_a_collection_must_be_there(space):
    for call in (
        lambda: space.vectors.insert("notes", "a", [1]),
        lambda: space.vectors.put_many("notes", [NewVector("a", [1])]),
        lambda: space.vectors.update("notes", "a", metadata={}),
    ):
        with pytest.raises(NotFoundError, match="'notes' does not exist"):
            call()
    assert not list(space.changes())


def test_many_are_one_commit(notes):
    made = notes.vectors.insert_many("notes", [NewVector("b", [1, 0, 0]), NewVector("a", [0, 1, 0], {"n": 1})])
    assert ids(made) == ["b", "a"] and made[0].revision == made[1].revision
    with pytest.raises(ConflictError, match="'a'"):
        notes.vectors.insert_many("notes", [NewVector("c", [1, 0, 0]), NewVector("a", [0, 1, 0])])
    assert not notes.vectors.exists("notes", "c")
    assert [
        one.version for one in notes.vectors.put_many("notes", [NewVector("c", [1, 0, 0]), NewVector("a", [1, 1, 1])])
    ] == [1, 2]
    assert notes.vectors.insert_many("notes", []) == []


def test_an_update_sets_what_is_given(notes):
    notes.vectors.put("notes", "a", [1, 2, 3], metadata={"n": 1})
    assert notes.vectors.update("notes", "a", metadata={"n": 2}).metadata == {"n": 2}
    assert notes.vectors.get("notes", "a").vector == [1, 2, 3]
    changed = notes.vectors.update("notes", "a", vector=[3, 2, 1], expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert changed.metadata == {"n": 2} and changed.version == 3
    assert notes.vectors.get("notes", "a").vector == [3, 2, 1]
    assert notes.vectors.update("notes", "a").expires_at is not None
    assert notes.vectors.update("notes", "a", expires_at=None).expires_at is None
    with pytest.raises(NotFoundError, match="'b'"):
        notes.vectors.update("notes", "b", metadata={})


def test_only_one_of_two_with_the_same_expectation_wins(notes):
    read = notes.vectors.put("notes", "a", [1, 2, 3])
    notes.vectors.put("notes", "a", [1, 2, 4], expected=read)
    for condition in ({"expected_version": 1}, {"expected": read}):
        with pytest.raises(ConflictError):
            notes.vectors.put("notes", "a", [1, 1, 1], **condition)
        with pytest.raises(ConflictError):
            notes.vectors.update("notes", "a", metadata={}, **condition)
        with pytest.raises(ConflictError):
            notes.vectors.delete("notes", "a", **condition)
    assert notes.vectors.delete("notes", "a", expected_version=2)


def test_lists_go_by_id_page_by_page(notes):
    names = ["b", "a", "é", "a\0", "A", "aa"]
    notes.vectors.insert_many("notes", [NewVector(name, [1, 1, n], {"n": n}) for n, name in enumerate(names)])
    notes.vectors.create_collection("note", dimension=1)
    notes.vectors.put("note", "sz", [1])
    seen, after = [], None
    while True:
        page = notes.vectors.list("notes", limit=2, after=after)
        seen, after = seen + ids(page), page.cursor
        if after is None:
            break
    assert seen == sorted(names) == ids(notes.vectors.list("notes", reverse=True))[::-1]
    assert all(one.vector is None for one in notes.vectors.list("notes"))
    assert notes.vectors.list("notes", vectors=True, limit=1)[0].vector == [1, 1, 4]
    assert ids(notes.vectors.list("notes", where={"n": {"$gt": 3}})) == ["A", "aa"]
    assert ids(notes.vectors.list("note")) == ["sz"] and notes.vectors.count("notes") == 6


def test_a_list_reads_no_numbers(tmp_path, monkeypatch):
    with holdfast.open(tmp_path / "store.db") as store:
        store.vectors.create_collection("notes", dimension=2)
        store.vectors.put("notes", "a", [1, 2])
        wanted = []
        scope = store.space("default")._scope
        raw_scan, raw_read = scope.raw_scan, scope.raw_read
        monkeypatch.setattr(scope, "raw_scan", lambda *a, **k: wanted.append(k["want"]) or raw_scan(*a, **k))
        monkeypatch.setattr(
            scope, "raw_read", lambda kind, keys, want: wanted.append(want) or raw_read(kind, keys, want)
        )
        store.vectors.list("notes", where={"a": 1})
        store.vectors.count("notes"), store.vectors.exists("notes", "a")
        store.vectors.get("notes", "a", vectors=False)
        assert wanted and "blobs" not in wanted


def test_what_has_expired_is_gone(notes, later):
    notes.vectors.put("notes", "a", [1, 1, 1], ttl=10)
    notes.vectors.put("notes", "b", [1, 1, 1])
    assert notes.vectors.count("notes") == 2
    later(11)
    assert notes.vectors.count("notes") == 1 and ids(notes.vectors.list("notes")) == ["b"]
    assert notes.vectors.get("notes", "a") is None
    assert notes.vectors.insert("notes", "a", [1, 1, 1]).version == 1
    assert notes.vectors.get("notes", "a").vector == [1, 1, 1]


def test_collection_and_vectors_in_one_transaction(space):
    with space.transaction() as tx:
        made = tx.vectors.create_collection("notes", dimension=2)
        assert made.version == 0 and tx.vectors.collection("notes").dimension == 2
        assert tx.vectors.insert("notes", "a", [1, 2], metadata={"n": 1}).version == 0
        tx.vectors.insert_many("notes", [NewVector("b", [3, 4])])
        assert tx.vectors.get("notes", "a").vector == [1, 2] and tx.vectors.count("notes") == 2
        tx.vectors.update("notes", "b", metadata={"n": 2})
        assert tx.vectors.get("notes", "b").vector == [3, 4]
        assert ids(tx.vectors.list("notes", where={"n": {"$in": [1, 2]}})) == ["a", "b"]
        assert space.vectors.collection("notes") is None
        with pytest.raises(holdfast.UnsupportedError, match="inside a transaction"):
            tx.vectors.search("notes", [1, 2])
    assert space.vectors.get("notes", "b").vector == [3, 4] and space.vectors.get("notes", "b").metadata == {"n": 2}


def test_a_transaction_with_a_wrong_vector_commits_nothing(space):
    with pytest.raises(InvalidInputError, match="takes 2"), space.transaction() as tx:
        tx.vectors.create_collection("notes", dimension=2)
        tx.vectors.insert("notes", "a", [1, 2])
        tx.vectors.insert("notes", "b", [1, 2, 3])
    assert list(space.changes()) == []


def test_a_transaction_that_read_is_overtaken(notes):
    notes.vectors.put("notes", "a", [1, 1, 1])
    with pytest.raises(ConflictError), notes.transaction() as tx:
        tx.vectors.get("notes", "a")
        notes.vectors.put("notes", "a", [2, 2, 2])
        tx.vectors.put("notes", "b", [1, 1, 1])
    with pytest.raises(NotFoundError), notes.transaction() as tx:
        tx.vectors.put("notes", "b", [1, 1, 1])
        notes.vectors.drop_collection("notes")
    assert list(notes.vectors.collections()) == []


def test_dropping_removes_everything_of_one_collection(notes, monkeypatch):
    monkeypatch.setattr(face, "_REMOVED_AT_ONCE", 2)
    notes.vectors.create_collection("notesx", dimension=1)
    notes.vectors.put("notesx", "a", [1])
    notes.vectors.insert_many("notes", [NewVector(f"{n}", [1, 1, n]) for n in range(5)])
    assert notes.vectors.drop_collection("notes") and not notes.vectors.drop_collection("notes")
    assert notes.vectors.collection("notes") is None and notes.vectors.count("notes") == 0
    assert notes._scope.raw_count(kind.KIND, None, b"", b"") == 2
    assert notes.vectors.exists("notesx", "a")
    assert notes.vectors.create_collection("notes", dimension=7).version == 1
    assert notes.vectors.list("notes") == []


def test_a_drop_that_was_interrupted_is_complete_for_readers_and_ended_by_the_next(notes, monkeypatch):
    notes.vectors.insert_many("notes", [NewVector(f"{n}", [1, 1, n]) for n in range(5)])
    with monkeypatch.context() as patch:
        patch.setattr(face.Vectors, "_remove_dropped", lambda self, key: None)
        assert notes.vectors.drop_collection("notes")
        assert not notes.vectors.drop_collection("notes")
        assert notes.vectors.collection("notes") is None and list(notes.vectors.collections()) == []
        assert notes.vectors.get("notes", "1") is None and not notes.vectors.exists("notes", "1")
        assert notes.vectors.list("notes") == [] and notes.vectors.count("notes") == 0
        for call in (
            lambda: notes.vectors.put("notes", "9", [1, 1, 1]),
            lambda: notes.vectors.update("notes", "1", metadata={}),
            lambda: notes.vectors.search("notes", [1, 1, 1]),
        ):
            with pytest.raises(NotFoundError, match="'notes' does not exist"):
                call()
        with pytest.raises(ConflictError, match="still being removed"):
            notes.vectors.create_collection("notes", dimension=3)
    assert notes.vectors.create_collection("notes", dimension=3).version == 1
    assert notes.vectors.count("notes") == 0
    notes.vectors.put("notes", "1", [1, 1, 1])
    with monkeypatch.context() as patch:
        patch.setattr(face.Vectors, "_remove_dropped", lambda self, key: None)
        notes.vectors.drop_collection("notes")
    assert not notes.vectors.drop_collection("notes")
    assert notes._scope.raw_count(kind.KIND, None, b"", b"") == 0


def test_two_that_remove_one_collection_leave_the_next_of_its_name_alone(notes, monkeypatch):
    notes.vectors.insert_many("notes", [NewVector(f"{n}", [1, 1, n]) for n in range(5)])
    vectors, faster = notes.vectors, []
    scan = notes._scope.scan

    def overtaken(*arguments, **options):
        found = list(scan(*arguments, **options))
        if not faster:
            faster.append(True)
            other = holdfast.primitives.vectors.Vectors(notes._scope)
            other.create_collection("notes", dimension=3)
            other.put("notes", "1", [1, 2, 3])
        return iter(found)

    monkeypatch.setattr(notes._scope, "scan", overtaken)
    assert vectors.drop_collection("notes")
    assert vectors.get("notes", "1").vector == [1, 2, 3] and vectors.count("notes") == 1


def test_a_collection_that_is_gone_when_it_is_to_be_shown(notes, monkeypatch):
    monkeypatch.setattr(face.Vectors, "collection", lambda self, name: None)
    with pytest.raises(ConflictError, match="dropped meanwhile"):
        notes.vectors.create_collection("notes", dimension=3, metadata={"model": "m"}, exist_ok=True)


def test_dropping_inside_a_transaction_is_one_commit(notes, monkeypatch):
    monkeypatch.setattr(face, "_REMOVED_AT_ONCE", 2)
    notes.vectors.insert_many("notes", [NewVector(f"{n}", [1, 1, n]) for n in range(5)])
    with notes.transaction() as tx:
        assert tx.vectors.drop_collection("notes")
        assert notes.vectors.count("notes") == 5
        tx.vectors.create_collection("notes", dimension=1)
        tx.vectors.put("notes", "new", [1])
    assert ids(notes.vectors.list("notes")) == ["new"] and notes.vectors.collection("notes").dimension == 1


def test_a_run_is_replayed_and_compared(notes):
    notes.vectors.put("notes", "old", [1, 2, 3], metadata={"n": 0})
    runs = []
    for number in (1, 2):
        with notes.run(f"run {number}") as run:
            run.vectors.create_collection(f"c{number}", dimension=1)
            run.vectors.put("notes", "same", [1, 1, 1])
            run.vectors.put("notes", "other", [1, 1, number])
            run.vectors.update("notes", "old", metadata={"n": 1})
            run.vectors.put("notes", "gone", [1, 1, 1])
            run.vectors.delete("notes", "gone")
        runs.append(run)
    view = notes.replay(runs[0].id)
    assert view.vectors.get("notes", "other").vector == [1, 1, 1] and view.vectors.get("notes", "gone") is None
    assert view.vectors.get("notes", "old").metadata == {"n": 1}
    assert ids(view.vectors.list("notes")) == ["old", "other", "same"]
    assert view.vectors.collection("c1").dimension == 1
    with pytest.raises(holdfast.UnsupportedError):
        view.vectors.search("notes", [1, 1, 1])
    diff = notes.diff(*runs)
    assert [one.key for one in diff.modified] == ["notes/other"]
    assert [one.key for one in diff.added] == ["c2"] and [one.key for one in diff.removed] == ["c1"]
    assert diff.added[0].after == {"dimension": 1, "metric": "cosine", "metadata": {}}
    with notes.run("drop") as run:
        run.vectors.drop_collection("notes")
    assert notes.replay(run.id).vectors.collection("notes") is None


def test_a_fold_upon_nothing_writes_nothing():
    at = holdfast.primitive.Moment(1, 1, None)
    assert kind._fold_update(kind.Update(b"k", b""), {b"k": None}, at) == {}
    assert kind._fold_drop_collection(kind.DropCollection(b"k"), {b"k": None}, at) == {}


def test_damage_is_told_and_never_returned(tmp_path):
    import apsw

    path = tmp_path / "store.db"
    with holdfast.open(path) as store:
        store.vectors.create_collection("notes", dimension=2)
        store.vectors.put_many("notes", [NewVector("a", [1, 2]), NewVector("b", [1, 2])])
    apsw.Connection(str(path)).execute("UPDATE blobs SET data = x'00000000' WHERE id = 1")
    with holdfast.open(path) as store:
        with pytest.raises(holdfast.CorruptionError, match="'a'"):
            store.vectors.get("notes", "a")
        with pytest.raises(holdfast.CorruptionError):
            store.vectors.search("notes", [1, 2])
        assert store.vectors.get("notes", "b").vector == [1, 2]


def test_a_record_is_shown_as_plain_values(notes):
    notes.vectors.put("notes", "a", [1, 2, 3], metadata={"b": b"x"})
    plain = holdfast.to_dict(notes.vectors.get("notes", "a"))
    assert plain["vector"] == [1.0, 2.0, 3.0] and plain["metadata"] == {"b": {"$bytes": "eA=="}}


metadata = st.dictionaries(
    st.sampled_from(["a", "b", "c" * 300]),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(0, 2),
        st.sampled_from([0.0, -0.0, 1.0, "x", "y" * 600, b"z", [1], {"k": 1}]),
    ),
    max_size=3,
)


@settings(deadline=None)
@given(stored=st.lists(metadata, max_size=6), wanted=metadata, many=st.booleans())
def test_an_index_leads_to_all_that_a_filter_wants(stored, wanted, many):
    with holdfast.open("memory:") as store:
        vectors = store.vectors
        vectors.create_collection("notes", dimension=1, metric="dot")
        wide = {f"f{n}": n for n in range(80)} if many else {}
        vectors.insert_many("notes", [NewVector(f"{n}", [n], {**one, **wide}) for n, one in enumerate(stored)])
        expected = [f"{n}" for n, one in enumerate(stored) if _has_all(one, wanted)]
        assert sorted(ids(hit.record for hit in vectors.search("notes", [1], where=wanted))) == expected
        assert sorted(ids(vectors.list("notes", where=wanted))) == expected


def _has_all(metadata, wanted):
    return all(
        name in metadata and type(metadata[name]) is type(value) and metadata[name] == value
        for name, value in wanted.items()
    )


times = st.datetimes(timezones=st.just(UTC))
ordered = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("a\0é", max_size=2),
    st.sampled_from(["a" * 470, "a" * 478, "a" * 600, "a" * 600 + "b"]),
    st.sampled_from([True, False, None]),
    times,
)


@given(stored=st.lists(ordered, max_size=8), data=st.data())
def test_an_index_leads_to_all_that_is_in_a_range(stored, data):
    same = [one for one in stored if one.__class__ not in (bool, type(None))] or [0]
    sample = data.draw(st.sampled_from(same))
    like = [one for one in same if isinstance(one, int | float) == isinstance(sample, int | float)]
    like = [one for one in like if isinstance(one, str) == isinstance(sample, str)]
    names = data.draw(st.lists(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), min_size=1, unique=True))
    wanted = {"f": {name: data.draw(st.sampled_from(like)) for name in names}}
    with holdfast.open("memory:") as store:
        vectors = store.vectors
        vectors.create_collection("notes", dimension=1, metric="dot")
        vectors.insert_many("notes", [NewVector(f"{n}", [n], {"f": one}) for n, one in enumerate(stored)])
        expected = [f"{n}" for n, one in enumerate(stored) if Where(wanted).matches({"f": one})]
        assert sorted(ids(hit.record for hit in vectors.search("notes", [1], where=wanted))) == expected


changes = st.lists(
    st.tuples(st.sampled_from(["put", "update", "metadata", "delete"]), st.sampled_from("abc"), st.integers(1, 9)),
    max_size=6,
)


@given(groups=st.lists(st.tuples(changes, st.booleans(), st.booleans()), max_size=5))
def test_it_is_a_dict_of_vectors(groups):
    """Each group of changes is a transaction, which may be dropped, or single commits."""
    model: dict[str, tuple[int, int]] = {}
    with holdfast.open("memory:") as store:
        store.vectors.create_collection("notes", dimension=1, metric="euclidean")
        for group, together, dropped in groups:
            after = dict(model)
            try:
                if together:
                    with store.transaction() as tx:
                        _apply(tx.vectors, group, after)
                        _compare(tx.vectors, after)
                        if dropped:
                            raise _DroppedError
                else:
                    _apply(store.vectors, group, after)
                model = after
            except _DroppedError:
                pass
            _compare(store.vectors, model)
            hits = store.vectors.search("notes", [5], limit=9)
            assert ids(hit.record for hit in hits) == sorted(model, key=lambda id: (abs(model[id][0] - 5), id))


class _DroppedError(Exception):
    pass


def _apply(vectors, group, model):
    for what, id, number in group:
        if what == "put":
            vectors.put("notes", id, [number], metadata={"n": number})
            model[id] = number, number
        elif what == "delete":
            assert vectors.delete("notes", id) == (model.pop(id, None) is not None)
        elif id not in model:
            with pytest.raises(NotFoundError):
                vectors.update("notes", id, metadata={})
        elif what == "update":
            vectors.update("notes", id, vector=[number])
            model[id] = number, model[id][1]
        else:
            vectors.update("notes", id, metadata={"n": number})
            model[id] = model[id][0], number


def _compare(vectors, model):
    found = {one.id: (one.vector[0], one.metadata["n"]) for one in vectors.list("notes", vectors=True)}
    assert found == model and vectors.count("notes") == len(model)
    assert ids(vectors.list("notes")) == sorted(model)
    for id in "abc":
        one = vectors.get("notes", id)
        assert (one and (one.vector[0], one.metadata["n"])) == model.get(id)
        assert vectors.exists("notes", id) == (id in model)


def test_a_retention_removes_vectors_and_leaves_their_collections(notes):
    notes.vectors.put("notes", "a", [1, 0, 0])
    notes.vectors.put("notes", "b", [0, 1, 0])
    assert notes.retain("vector", keep_last=1).removed == 1
    assert ids(notes.vectors.list("notes")) == ["b"] and notes.vectors.collection("notes") is not None
    assert [hit.record.id for hit in notes.vectors.search("notes", [1, 0, 0])] == ["b"]
