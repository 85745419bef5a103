"""The kinds that ``add``, ``get``, ``list``, ``delete`` and ``export`` know: how each is named, and what is done to it.

A noun is the name of the attribute of a space. ``keys`` says what names one record; the functions take a space (or a
transaction, for ``delete``) and what was given for the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import click

from holdfast.cli.readable import brief
from holdfast.cli.root import Failure

Keys = Sequence[str]


class Noun(NamedTuple):
    """One kind: ``get`` returns a record or None, ``delete`` True if there was one, ``page`` a Listing.

    ``least`` keys name something. ``headings`` and ``row`` make a line of a listing; ``filters`` are the options of
    ``list`` that it takes; ``below`` says what may follow the noun in a listing.
    """

    keys: str
    least: int
    most: int
    get: Callable[[Any, Keys], Any]
    headings: tuple[str, ...]
    row: Callable[[Any], list[Any]]
    page: Callable[..., Any]
    below: str = ""
    filters: frozenset[str] = frozenset()
    delete: Callable[[Any, Keys], bool] | None = None

    def check(self, name: str, keys: Keys) -> None:
        """Raise UsageError if this is not what names a record."""
        if not self.least <= len(keys) <= self.most:
            raise click.UsageError(f"{name} are named by {self.keys}: holdfast get {name} {self.keys}")


def _prefixed(attribute: str) -> Noun:
    def page(space: Any, prefix: str | None, *, reverse: bool = False, **options: Any) -> Any:
        return getattr(space, attribute).scan(prefix or "", reverse=reverse, **options)

    return Noun(
        keys="KEY",
        least=1,
        most=1,
        get=lambda space, keys: getattr(space, attribute).record(keys[0]),
        headings=("key", "version", "value"),
        row=lambda one: [one.key, one.version, brief(_plain(one.value))],
        page=page,
        below="PREFIX",
        filters=frozenset({"newest"}),
        delete=lambda space, keys: getattr(space, attribute).delete(keys[0]),
    )


def _memory_page(space: Any, name: str | None, **options: Any) -> Any:
    return space.memories.list(**options)


def _event(space: Any, keys: Keys) -> Any:
    if not keys[1].isdigit():
        raise click.UsageError(f"SEQUENCE is a number of 0 or more, not {keys[1]!r}: holdfast get events STREAM 0")
    return space.events.get(keys[0], int(keys[1]))


def _event_page(space: Any, stream: str | None, *, reverse: bool = False, **options: Any) -> Any:
    if stream is not None:
        return space.events.read(stream, reverse=reverse, **options)
    _only_forwards(reverse, "streams")
    return space.events.streams(**options)


def _event_row(one: Any) -> list[Any]:
    if hasattr(one, "length"):
        return [one.name, one.length]
    return [one.sequence, _moment(one.created_at), one.type, brief(_plain(one.data))]


def _span_page(space: Any, root: str | None, *, after: str | None, limit: int, **options: Any) -> Any:
    return space.traces.list(parent=root, after=after, limit=limit, **options)


def _vector(space: Any, keys: Keys) -> Any:
    return space.vectors.collection(keys[0]) if len(keys) == 1 else space.vectors.get(*keys)


def _vector_page(space: Any, collection: str | None, *, reverse: bool = False, **options: Any) -> Any:
    if collection is None:
        _only_forwards(reverse, "collections")
        return space.vectors.collections(**options)
    if space.vectors.collection(collection) is None:
        raise Failure(f"there is no collection {collection!r}; 'holdfast list vectors' shows those that there are")
    return space.vectors.list(collection, reverse=reverse, **options)


def _vector_row(one: Any) -> list[Any]:
    if hasattr(one, "dimension"):
        return [one.name, one.dimension, one.metric, brief(one.metadata) if one.metadata else ""]
    return [one.id, one.version, brief(_plain(one.metadata))]


def _vector_delete(space: Any, keys: Keys) -> bool:
    dropped: bool = space.vectors.drop_collection(keys[0]) if len(keys) == 1 else space.vectors.delete(*keys)
    return dropped


def _only_forwards(reverse: bool, what: str) -> None:
    if reverse:
        raise click.UsageError(f"{what} are listed in the order of their names; leave --newest out")


def _moment(time: Any) -> str:
    return str(time.isoformat()[:19])


def _plain(value: Any) -> Any:
    from holdfast.records import plain

    return plain(value)


NOUNS = {
    "memories": Noun(
        keys="ID",
        least=1,
        most=1,
        get=lambda space, keys: space.memories.get(keys[0]),
        headings=("id", "created", "tags", "content"),
        row=lambda one: [one.id, _moment(one.created_at), ",".join(one.tags), one.content[:200]],
        page=_memory_page,
        filters=frozenset({"newest", "session_id", "source", "tags", "namespace", "since", "until"}),
        delete=lambda space, keys: space.memories.delete(keys[0]),
    ),
    "kv": _prefixed("kv"),
    "json": _prefixed("json"),
    "events": Noun(
        keys="STREAM SEQUENCE",
        least=2,
        most=2,
        get=_event,
        headings=("sequence", "created", "type", "data"),
        row=_event_row,
        page=_event_page,
        below="STREAM",
        filters=frozenset({"newest"}),
    ),
    "states": _prefixed("states"),
    "traces": Noun(
        keys="ID",
        least=1,
        most=1,
        get=lambda space, keys: space.traces.get(keys[0]),
        headings=("id", "start", "type", "name", "status"),
        row=lambda one: [one.id, _moment(one.start), one.type, one.name, one.status],
        page=_span_page,
        below="ID",
        filters=frozenset({"newest", "tags", "since", "until"}),
        delete=lambda space, keys: space.traces.delete(keys[0]),
    ),
    "vectors": Noun(
        keys="COLLECTION [ID]",
        least=1,
        most=2,
        get=_vector,
        headings=("id", "version", "metadata"),
        row=_vector_row,
        page=_vector_page,
        below="COLLECTION",
        filters=frozenset({"newest"}),
        delete=_vector_delete,
    ),
    "segments": Noun(
        keys="ID",
        least=1,
        most=1,
        get=lambda space, keys: space.segments.get(keys[0]),
        headings=("id", "created", "tier", "type", "text"),
        row=lambda one: [one.id, _moment(one.created_at), one.tier, one.type, one.text[:200]],
        page=lambda space, name, **options: space.segments.list(**options),
        filters=frozenset({"newest"}),
    ),
    "intents": Noun(
        keys="ID",
        least=1,
        most=1,
        get=lambda space, keys: space.intents.get(keys[0]),
        headings=("id", "goal", "status", "priority", "created"),
        row=lambda one: [one.id, one.goal, one.status, one.priority, _moment(one.created_at)],
        page=lambda space, name, **options: space.intents.list(**options),
        filters=frozenset({"newest"}),
    ),
    "runs": Noun(
        keys="ID",
        least=1,
        most=1,
        get=lambda space, keys: space.runs.get(keys[0]),
        headings=("id", "name", "status", "created", "error"),
        row=lambda one: [one.id, one.name, one.status, _moment(one.created_at), one.error],
        page=lambda space, name, **options: space.runs.list(**options),
        filters=frozenset({"newest"}),
    ),
}

GROUPS = {"events": ("stream", "events"), "vectors": ("collection", "dimension", "metric", "metadata")}
"""The headings of what the records of a noun are grouped in, where no group is named."""


def pages(noun: str, space: Any, name: str | None) -> Iterator[Any]:
    """Iterate over all records of a kind, page by page; of groups, over those of each."""
    if noun in GROUPS and name is None:
        for group in _all(NOUNS[noun].page, space, None):
            yield from _all(NOUNS[noun].page, space, group.name, **_whole(noun))
    else:
        yield from _all(NOUNS[noun].page, space, name, **_whole(noun))


def _whole(noun: str) -> dict[str, Any]:
    return {"vectors": True} if noun == "vectors" else {}


def _all(page: Callable[..., Any], space: Any, name: str | None, **options: Any) -> Iterator[Any]:
    after = None
    while True:
        found = page(space, name, limit=500, after=after, **options)
        yield from found
        after = found.cursor
        if after is None:
            return
