"""Text search: filters before the cut, nothing that is gone, spaces apart."""

from __future__ import annotations

import holdfast


def contents(space, query, **arguments):
    return [hit.record.content for hit in space.memories.search(query, **arguments)]


def test_a_rare_filter_finds_its_hit_behind_a_thousand_better_ones(space):
    space.memories.store_many([holdfast.NewMemory(content="parser parser") for _ in range(1000)])
    rare = space.memories.store("a parser among many other words that make it worse", tags=["rare"], metadata={"k": 1})
    assert [hit.record for hit in space.memories.search("parser", tags=["rare"])] == [rare]
    assert [hit.record for hit in space.memories.search("parser", where={"k": 1}, limit=1)] == [rare]
    assert len(space.memories.search("parser", limit=7)) == 7


def test_scores_fall_from_one_and_matches_are_marked(space):
    for count in range(1, 6):
        space.memories.store("parser " * count + "word " * 5)
    space.memories.store("nothing")
    hits = space.memories.search("parser")
    scores = [hit.score for hit in hits]
    assert scores[0] == 1.0 and scores == sorted(scores, reverse=True) and all(0 <= one <= 1 for one in scores)
    assert len(hits) == 5 and all("**parser" in hit.highlight for hit in hits) and hits.stale_by == 0
    assert space.memories.search("absent") == []


def test_what_is_gone_is_not_found(space, later):
    deleted, purged, changed = (space.memories.store(f"parser {n}") for n in range(3))
    space.memories.store("parser 3", ttl=5)
    assert len(contents(space, "parser")) == 4
    space.memories.delete(deleted.id)
    space.memories.purge(purged.id)
    space.memories.update(changed.id, content="lexer")
    assert contents(space, "parser") == ["parser 3"] and contents(space, "lexer") == ["lexer"]
    later(6)
    assert contents(space, "parser") == []
    space.memories.restore(deleted.id)
    assert contents(space, "parser") == ["parser 0"]


def test_a_commit_of_more_than_a_thousand_is_taken_in_whole(store, space):
    space.memories.store("before parser")
    space.memories.store_many([holdfast.NewMemory(content=f"parser n{n}") for n in range(1500)])
    space.memories.store("after parser")
    told = []
    store.refresh_search("project", told.append)
    assert sum(told) == 1502
    assert contents(space, "n1499") == ["parser n1499"] and contents(space, "after") == ["after parser"]


def test_spaces_never_mix(store):
    store.space("a").memories.store("parser a")
    store.space("ab").memories.store("parser b")
    assert contents(store.space("a"), "parser") == ["parser a"]
    assert contents(store.space("ab"), "parser") == ["parser b"]


def test_a_reader_says_how_far_behind_it_is(tmp_path):
    path = tmp_path / "store.db"
    with holdfast.open(path) as store:
        store.memories.store("parser")
        assert store.memories.search("parser").stale_by == 0
        store.memories.store("parser two")
        store.kv.put("a", 1)
        with holdfast.open(path, read_only=True) as reader:
            hits = reader.memories.search("parser")
            assert hits.stale_by == 2 and len(hits) == 1
