"""Whatever is handed in, what comes out is a result or an error of Holdfast: no TypeError, KeyError or the like."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from datetime import datetime

import pytest

import holdfast

CYCLE: list = []
CYCLE.append(CYCLE)
BAD = [
    None, True, 0, 5, -1, 10**30, 3.5, float("nan"), "", "x", "\ud800", "a\0b", "x" * 5000, b"x", [], [5], [[1]], ["x"],
    {}, {1: 2}, {"a": object()}, {"a": float("inf")}, (), set(), object(), len, int, datetime(2020, 1, 1), range(3),
    CYCLE,
]  # fmt: skip
GOOD = {
    "key": "k", "keys": ["k"], "value": 1, "values": {"a": 1}, "content": "text", "stream": "s", "data": {"a": 1},
    "events": [{"data": 1}], "collection": "c", "name": "c", "dimension": 2, "vector": [1.0, 2.0], "ids": ["a"],
    "vectors": [], "id": "0190163d-8694-739b-aea5-966c26f8ad91", "type": "t", "query": "text", "path": "$.a",
    "pointer": "", "patch": [], "operations": [], "to": 1, "allowed_from": [1], "function": lambda value: 1,
    "expected_value": 1, "sequence": 0, "before": 1, "error": "no", "root": "0190163d-8694-739b-aea5-966c26f8ad91",
    "document": {"resourceSpans": []}, "memories": [], "session_id": "s", "source": "custom", "kind": "kv",
    "run": "0190163d-8694-739b-aea5-966c26f8ad91", "a": "0190163d-8694-739b-aea5-966c26f8ad91",
    "b": "0190163d-8694-739b-aea5-966c26f8ad91", "space": "p", "pairs": {"a": 1}, "items": {"a": 1}, "delta": 1,
}  # fmt: skip
FACES = ("kv", "json", "events", "states", "traces", "memories", "vectors", "runs")
NOT_CALLED = {"close", "watch"}


def prepared(store):
    space = store.space("p")
    space.kv.put("k", 1)
    space.json.put("k", {"a": 1})
    space.states.init("k", 1)
    space.events.append("s", 1)
    space.vectors.create_collection("c", dimension=2)
    space.vectors.put("c", "a", [1.0, 2.0])
    space.traces.record("t", id=GOOD["id"])
    space.memories.create("text", id=GOOD["id"])
    return space


def methods():
    with holdfast.open("memory:") as store:
        space = store.space("p")
        with space.run("r") as run:
            for owner, thing in (
                ("store", store),
                ("space", space),
                ("run", run),
                *((f, getattr(space, f)) for f in FACES),
            ):
                for name, _ in inspect.getmembers(type(thing), callable):
                    if not name.startswith("_") and name not in NOT_CALLED:
                        yield owner, name, inspect.signature(getattr(thing, name), follow_wrapped=True)


METHODS = list(methods())


def calls(signature):
    """Good arguments with one bad one in the place of each."""
    required = {
        name: GOOD.get(name)
        for name, one in signature.parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    }
    for name, one in signature.parameters.items():
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            for bad in BAD:
                yield {**required, name: bad}


def use(result):
    if isinstance(result, Iterator):
        for _ in range(3):
            next(result, None)
    elif hasattr(result, "__enter__") and not isinstance(result, holdfast.Store | holdfast.Run):
        with result:
            pass


def unfit(error, arguments):
    """Whether an error should not have come out; what a function of the user raises is passed on as it is."""
    return not isinstance(error, holdfast.HoldfastError) and not callable(arguments.get("function"))


@pytest.mark.parametrize(("owner", "name", "signature"), METHODS, ids=lambda one: one if isinstance(one, str) else "")
def test_bad_arguments_are_refused_in_our_words(owner, name, signature):
    failed = []
    with holdfast.open("memory:") as store:
        space = prepared(store)
        for arguments in calls(signature):
            try:
                if owner == "run":
                    with space.run("r") as run:
                        use(getattr(run, name)(**arguments))
                else:
                    thing = {"store": store, "space": space}.get(owner) or getattr(space, owner)
                    use(getattr(thing, name)(**arguments))
            except Exception as error:
                if unfit(error, arguments):
                    failed.append(f"{arguments!r:.200}: {error!r:.200}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("owner", "name", "signature"),
    [one for one in METHODS if one[0] in FACES and one[1] != "resume"],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_so_they_are_in_transactions_and_with_asyncio(owner, name, signature):
    failed = []

    async def awaited():
        async with await holdfast.open_async("memory:") as opened:
            prepared(opened._store)
            for arguments in calls(signature):
                try:
                    result = getattr(getattr(opened.space("p"), owner), name)(**arguments)
                    if inspect.isawaitable(result):
                        await result
                except Exception as error:
                    if unfit(error, arguments):
                        failed.append(f"{arguments!r:.200}: {error!r:.200}")

    asyncio.run(awaited())
    with holdfast.open("memory:") as store:
        space = prepared(store)
        for arguments in calls(signature):
            try:
                with space.transaction() as tx:
                    use(getattr(getattr(tx, owner), name)(**arguments))
            except Exception as error:
                if unfit(error, arguments):
                    failed.append(f"{arguments!r:.200}: {error!r:.200}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("bad", BAD, ids=lambda one: f"{one!r:.20}".encode("ascii", "replace").decode())
@pytest.mark.parametrize("field", inspect.signature(holdfast.open).parameters)
def test_a_store_is_not_opened_with_bad_arguments(tmp_path, monkeypatch, field, bad):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_STORE", "memory:")
    for url in ("memory:", "log:one", "two.db"):
        arguments = {"url": url, field: bad}
        for opened in (holdfast.open, lambda **given: asyncio.run(holdfast.open_async(**given))._store):
            try:
                opened(**arguments).close()
            except holdfast.HoldfastError:
                pass


def test_the_field_is_named():
    for arguments, field in (
        ({"url": 5}, "url"), ({"url": "\ud800"}, "url"), ({"registry": []}, "registry"),
        ({"read_only": "no"}, "read_only"),
        ({"create": None}, "create"), ({"durability": []}, "durability"),
    ):  # fmt: skip
        with pytest.raises(holdfast.InvalidInputError) as refused:
            holdfast.open(**{"url": "memory:", **arguments})
        assert refused.value.field == field
    with holdfast.open("memory:") as store:
        for call, field in (
            (lambda: store.space([]), "space"), (lambda: store.transact(5), "function"),
            (lambda: store.forget([]), "kind"),
            (lambda: store.states.apply("n", 5), "function"), (lambda: store.events.read("s", None), "start"),
            (lambda: store.refresh_search(5), "space"),
        ):  # fmt: skip
            with pytest.raises(holdfast.InvalidInputError) as refused:
                call()
            assert refused.value.field == field

    async def main():
        async with await holdfast.open_async("memory:") as opened:
            await opened.transact(5)

    with pytest.raises(holdfast.InvalidInputError, match="function"):
        asyncio.run(main())


@pytest.mark.parametrize("bad", BAD, ids=lambda one: f"{one!r:.20}".encode("ascii", "replace").decode())
def test_what_is_handed_in_as_a_struct_is_checked(bad):
    with holdfast.open("memory:") as store:
        space = prepared(store)
        for make, write, good in (
            (holdfast.NewMemory, space.memories.store_many, {"content": "a"}),
            (holdfast.NewVector, lambda many: space.vectors.put_many("c", many), {"id": "a", "vector": [1.0, 2.0]}),
        ):
            for field in make.__struct_fields__:
                try:
                    write([make(**{**good, field: bad})])
                except holdfast.HoldfastError:
                    pass
        for call in (holdfast.to_dict, holdfast.to_otlp, lambda one: list(space.watch(one, timeout=0.01)),
                     lambda one: list(space.watch(timeout=0.01, kinds=one))):  # fmt: skip
            try:
                call(bad)
            except holdfast.HoldfastError:
                pass
