"""A transaction depends on the parts of records that it read, and on what is under its writes if it looked at them."""

from __future__ import annotations

import pytest

from holdfast import ConflictError, NotFoundError
from holdfast.codec import decode
from holdfast.keys import encode_key
from holdfast.model import Guard
from holdfast.primitives.kv import KIND, KeyValueBody, KvPut

KEY = encode_key("k")


def opened(record):
    return {} if record is None else decode(record.body, KeyValueBody).value


def field(name):
    return lambda value: value.get(name)


def there(header):
    return header is not None


@pytest.fixture
def scope(space):
    space.kv.put("k", {"a": 1, "b": 1})
    return lambda tx: tx._scope


def test_a_part_is_read_in_every_scope(space, scope):
    direct = space._scope
    assert direct.read_part(KIND, KEY, opened, field("a")) == 1 and direct.read_part(KIND, KEY, there, bool, "headers")
    with space.snapshot() as view:
        space.kv.put("k", {"a": 2})
        assert view._scope.read_part(KIND, KEY, opened, field("a")) == 1


def test_a_change_elsewhere_in_the_record_is_no_conflict(space, scope):
    with space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        space.kv.put("k", {"a": 1, "b": 2})
        tx.kv.put("x", 1)
    with pytest.raises(ConflictError, match="what was read of kv 'k'") as caught, space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        space.kv.put("k", {"a": 2, "b": 2})
        tx.kv.put("x", 2)
    assert caught.value.keys == (("kv", "k"),) and space.kv.get("x") == 1


def test_many_parts_of_one_record_open_it_once_in_the_commit(space, scope):
    opens = []

    def counted(record):
        opens.append(record)
        return opened(record)

    with space.transaction() as tx:
        for name in "abcabc":
            scope(tx).read_part(KIND, KEY, counted, field(name))
        space.kv.put("other", 1)
        tx.kv.put("x", 1)
        opens.clear()
    assert len(opens) == 1


def test_what_a_read_changes_in_its_result_is_seen_by_nobody(space, scope):
    space.json.create("d", {"a": {"b": []}})
    with space.transaction() as tx:
        tx.json.get("d", "/a")["b"].append(1)
        tx.json.get("d")["a"] = None
        assert tx.json.get("d") == {"a": {"b": []}}
        tx.json.set("d", "/c", 1)
    assert space.json.get("d") == {"a": {"b": []}, "c": 1}


def test_what_was_read_by_its_header_is_depended_upon_once_its_body_is_read(space, scope):
    with space.transaction() as tx:
        assert tx.kv.exists("k") and tx.kv.get("k") == {"a": 1, "b": 1} and tx.kv.record("k").version == 1
        tx.kv.put("x", 1)
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert tx.kv.exists("k")
        space.kv.put("k", {})
        tx.kv.get("k")


def test_a_part_and_the_whole_is_the_whole(space, scope):
    for order in (1, -1):
        looks = [lambda tx: scope(tx).read_part(KIND, KEY, opened, field("a")), lambda tx: tx.kv.get("k")][::order]
        with pytest.raises(ConflictError), space.transaction() as tx:
            for look in looks:
                look(tx)
            space.kv.put("k", {"a": 1, "c": order})
            tx.kv.put("x", 1)


def test_the_whole_of_another_record_leaves_a_part_a_part(space, scope):
    with space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        assert tx.kv.get("other") is None and tx.kv.exists("k2") is False
        space.kv.put("k", {"a": 1, "b": 2})
        tx.kv.put("x", 1)
    assert space.kv.get("x") == 1


def test_headers_are_enough_for_what_needs_no_body(space, scope):
    with space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, there, bool, "headers")
        space.kv.put("k", {})
        assert not scope(tx).read_part(KIND, encode_key("x"), there, bool, "headers")
        tx.kv.put("y", 1)
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, there, bool, "headers")
        space.kv.delete("k")
        tx.kv.put("y", 2)


def test_the_pin_moves_on_past_other_parts_and_never_past_this_one(space, scope):
    with space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        space.kv.put("other", 1)
        assert scope(tx).read_part(KIND, KEY, opened, field("b")) == 1
    with space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        space.kv.put("k", {"a": 1, "b": 2})
        assert scope(tx).read_part(KIND, KEY, opened, field("b")) == 2
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        space.kv.put("k", {"a": 2, "b": 3})
        for _ in range(2):
            with pytest.raises(ConflictError):
                scope(tx).read_part(KIND, KEY, opened, field("b"))


def test_guards_and_writes_stand_in_order(space, scope):
    with space.transaction() as tx:
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 1
        tx.kv.put("k", {"a": 2})
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) == 2
        tx.kv.delete("k")
        assert scope(tx).read_part(KIND, KEY, opened, field("a")) is None
    assert not space.kv.exists("k")


def test_what_was_before_a_write_is_told(space, scope):
    put = KvPut(KEY, space._scope.codec.encode(KeyValueBody({"a": 5})))
    assert space._scope.read_and_write(KIND, KEY, opened, field("a"), [put], str) == "1"
    with space.transaction() as tx:
        assert scope(tx).read_and_write(KIND, KEY, opened, field("a"), [put], str) == "5"
        assert tx.kv.get("k") == {"a": 5}
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert scope(tx).read_and_write(KIND, KEY, opened, field("a"), [put], str) == "5"
        space.kv.put("k", {"a": 6})
    assert space.kv.get("k") == {"a": 6}


def test_steps_that_were_refused_are_not_in_the_batch_but_depended_upon(space, scope):
    put = KvPut(KEY, space._scope.codec.encode(KeyValueBody({"a": 5})))

    def refuse(record):
        raise NotFoundError("not today")

    def attempt(change):
        with space.transaction() as tx:
            with pytest.raises(NotFoundError, match="not today"):
                steps = [Guard(KIND, encode_key("g"), refuse), put]
                scope(tx).read_and_write(KIND, KEY, opened, field("a"), steps, str)
            change()
            tx.kv.put("x", 1)

    with pytest.raises(ConflictError):
        attempt(lambda: space.kv.put("g", 1))
    attempt(lambda: None)
    assert space.kv.get("k") == {"a": 1, "b": 1} and space.kv.get("x") == 1


def test_a_step_that_was_refused_behind_its_call_ends_the_transaction(space):
    with pytest.raises(ConflictError, match="'k' was expected at version 7"), space.transaction() as tx:
        tx.kv.put("k", 1, expected_version=7)
        for _ in range(2):
            with pytest.raises(ConflictError, match="version 7"):
                tx.kv.get("k")
        with pytest.raises(ConflictError, match="version 7"):
            tx.events.read("s")
    assert not space.kv.exists("k")


def test_writes_that_nobody_looked_at_depend_on_nothing(space):
    with space.transaction() as tx:
        tx.events.append("s", "mine")
        tx.kv.put("k", 1)
        assert not tx.memories.exists("00000000-0000-0000-0000-000000000000")
        space.events.append("s", "theirs")
        space.kv.put("k", 2)
    assert [one.data for one in space.events.read("s")] == ["theirs", "mine"] and space.kv.get("k") == 1


def test_a_deletion_leaves_an_append_of_the_same_transaction_alone(space):
    space.kv.put("k", 1)
    with space.transaction() as tx:
        tx.events.append("s", "mine")
        assert tx.kv.delete("k")
        space.events.append("s", "theirs")
    assert space.events.length("s") == 2 and not space.kv.exists("k")


def test_writes_that_were_looked_at_depend_on_what_they_were_folded_upon(space):
    for look in (
        lambda tx: tx.events.read("s"),
        lambda tx: tx.events.count(),
        lambda tx: tx.events.get("s", 0),
    ):
        with pytest.raises(ConflictError), space.transaction() as tx:
            tx.events.append("s", "mine")
            look(tx)
            space.events.append("s", "theirs")
        assert [one.data for one in space.events.read("s")][-1] == "theirs"
