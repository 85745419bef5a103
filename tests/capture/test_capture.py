"""The importers, on real files and a real repository, into real stores."""

from __future__ import annotations

import io
import json
import os
import subprocess
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.capture import claude_code, git, jsonl, markdown
from holdfast.capture.item import Captured, Problem, Skipped
from holdfast.capture.sync import sync

GUIDE = """---
title: Guide
---
Before any heading, some words that make up the beginning of this page, so that it is not tiny at all, really.

# Guide

## Install

Run the installer and wait until it has ended; then look at the version that it prints on the last line of output.

```sh
# not a heading
pip install holdfast
```

## Use

Open a store, put something into it, and find it again after the machine has lost power in the middle of a write.
"""


@pytest.fixture(params=["memory:", "sqlite"])
def space(request, tmp_path):
    url = "memory:" if request.param == "memory:" else str(tmp_path / "store.db")
    with holdfast.open(url, durability="buffered") as store:
        yield store.space("p")


def captured(items):
    return [item for item in items if isinstance(item, Captured)]


def test_markdown_is_cut_at_its_headings(tmp_path):
    (tmp_path / "guide.md").write_text(GUIDE, encoding="utf-8")
    chunks = captured(markdown.read([tmp_path]))
    assert [chunk.source.heading for chunk in chunks] == [None, "Guide > Install", "Guide > Use"]
    assert "# not a heading" in chunks[1].content
    assert chunks[0].content.startswith("---\ntitle: Guide\n---")
    assert [chunk.source.chunk_index for chunk in chunks] == [0, 1, 2]
    assert {chunk.source.total_chunks for chunk in chunks} == {3}
    assert chunks[2].source.end_line == len(GUIDE.splitlines()) + 1
    lines = GUIDE.splitlines()
    assert lines[chunks[1].source.start_line - 1] == "## Install"


PIECES = ["# A", "## B", "word " * 50, "", "```", "- item", "> quote", "Title\n=====", "x", "---", "key: value"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES)))
def test_nothing_of_a_document_is_lost_or_doubled(tmp_path, parts):
    path = tmp_path / "any.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    chunks = captured(markdown.read([path]))
    assert "".join("".join(chunk.content.split()) for chunk in chunks) == "".join(path.read_text().split())


def test_a_bad_file_is_a_problem_and_the_others_go_on(tmp_path, space):
    (tmp_path / "bad.md").write_bytes(b"# A\n\xff\xfe")
    (tmp_path / "good.md").write_bytes(b"\xef\xbb\xbf# A\r\n\r\nwords\r\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.md").write_text("no")
    summary = sync(space, markdown.read([tmp_path]))
    assert (summary.added, len(summary.problems)) == (1, 1)
    assert "not UTF-8" in summary.problems[0].why
    with pytest.raises(holdfast.InvalidInputError, match="does not exist"):
        list(markdown.read([tmp_path / "none.md"]))


def test_two_files_of_one_name_are_two_documents(tmp_path, space):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text(f"words of {folder}", encoding="utf-8")
    assert sync(space, markdown.read([tmp_path / "a", tmp_path / "b"])).added == 2
    assert space.memories.count() == 2


def test_the_chunks_of_an_emptied_file_go_and_those_of_a_broken_one_stay(tmp_path, space):
    path = tmp_path / "guide.md"
    path.write_text(GUIDE, encoding="utf-8")
    sync(space, markdown.read([path]))
    path.write_bytes(b"\xff")
    assert sync(space, markdown.read([path])).removed == 0
    path.write_text("", encoding="utf-8")
    assert sync(space, markdown.read([path])).removed == 3
    assert space.memories.count() == 0


def test_an_import_leaves_what_users_have_changed(tmp_path, space):
    path = tmp_path / "guide.md"
    path.write_text(GUIDE, encoding="utf-8")
    sync(space, markdown.read([path]))
    first = space.memories.list()[0]
    space.memories.update(first.id, status="archived")
    path.write_text(GUIDE.replace("Before any", "Ahead of any"), encoding="utf-8")
    assert sync(space, markdown.read([path])).updated == 3  # the hash of the file has changed in all of them
    assert space.memories.get(first.id).status == "archived"
    assert sync(space, markdown.read([path])).unchanged == 3


def test_a_file_name_that_is_no_text_is_a_problem(tmp_path, space):
    try:
        (tmp_path / "bad\udcff.md").write_text("x")
    except OSError:
        pytest.skip("this file system takes only text")
    assert "not UTF-8" in sync(space, markdown.read([tmp_path])).problems[0].why


def test_a_second_import_writes_only_what_has_changed(tmp_path, space):
    path = tmp_path / "guide.md"
    path.write_text(GUIDE, encoding="utf-8")
    dry = sync(space, markdown.read([tmp_path]), dry_run=True)
    assert (dry.added, space.memories.count()) == (3, 0)
    seen = []
    assert sync(space, markdown.read([tmp_path]), progress=seen.append).added == 3
    assert seen[-1] == 3
    head = list(space.changes())
    again = sync(space, markdown.read([tmp_path]))
    assert (again.unchanged, again.added, again.updated) == (3, 0, 0)
    assert list(space.changes()) == head
    path.write_text(GUIDE[: GUIDE.index("## Use")], encoding="utf-8")
    shorter = sync(space, markdown.read([tmp_path]))
    assert shorter.removed == 1
    assert [one.source.heading for one in space.memories.list()] == [None, "Guide > Install"]
    path.write_text(GUIDE, encoding="utf-8")
    assert sync(space, markdown.read([tmp_path])).to_dict()["removed"] == 0
    assert space.memories.count() == 3


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    environment = {**os.environ, "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org"}
    environment |= {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}
    environment |= {"GIT_AUTHOR_DATE": "2024-05-06T07:08:09+02:00", "GIT_COMMITTER_DATE": "2024-05-06T07:08:09+02:00"}

    def run(*arguments):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, env=environment)

    run("init", "-q", "-b", "main")
    run.folder = folder
    return run


def test_commits_become_memories(repository, space):
    assert list(git.read(repository.folder)) == []
    (repository.folder / "a b.txt").write_text("one\n" * 20)
    repository("add", "-A")
    repository("commit", "-qm", "Start: the first file\n\nWith a body.")
    repository("mv", "a b.txt", "ü.txt")
    repository("commit", "-qm", "Rename it")
    repository("checkout", "-qb", "side")
    repository("commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "")
    repository("checkout", "-q", "main")
    repository("merge", "-q", "--no-ff", "-m", "Merge it", "side")
    commits = captured(git.read(repository.folder))
    assert [commit.content.split("\n")[0] for commit in commits] == [
        "Start: the first file", "Rename it", "(no message)", "Merge it",
    ]  # fmt: skip
    assert commits[0].created_at == datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)
    assert commits[0].metadata["files"] == ["a b.txt"]
    assert "renamed: a b.txt -> ü.txt" in commits[1].content
    assert commits[3].tags == ("commit", "merge")
    assert sync(space, git.read(repository.folder)).added == 4
    assert sync(space, git.read(repository.folder)).unchanged == 4
    repository("commit", "-q", "--allow-empty", "-m", "odd \x1e message")
    assert captured(git.read(repository.folder))[-1].content == "odd \x1e message"
    assert [memory.created_at.year for memory in space.memories.list(tags=["merge"])] == [2024]
    assert len(captured(git.read(repository.folder, limit=1))) == 1
    with pytest.raises(holdfast.InvalidInputError, match="not inside a git repository"):
        list(git.read(repository.folder.parent))
    with pytest.raises(holdfast.InvalidInputError, match="no folder"):
        list(git.read(repository.folder / "nothing"))


TRANSCRIPT = [
    {"type": "summary", "summary": "Parser work", "leafUuid": "x"},
    {"type": "user", "uuid": "u1", "sessionId": "s1", "timestamp": "2026-01-02T03:04:05.678Z", "cwd": "/x",
     "message": {"role": "user", "content": "Fix the \x00 parser"}},
    {"type": "assistant", "uuid": "u2", "sessionId": "s1", "message": {"model": "m", "content": [
        {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I will."},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}]}},
    {"type": "user", "uuid": "u3", "sessionId": "s1", "isSidechain": True, "message": {"content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "y" * 5000}]}]}},
    {"type": "novelty", "sessionId": "s1", "text": "kept \ud800"},
    {"type": "file-history-snapshot", "snapshot": {}},
]  # fmt: skip


def test_transcripts_become_memories(tmp_path, space):
    file = tmp_path / "project" / "s1.jsonl"
    file.parent.mkdir()
    lines = [json.dumps(line) for line in TRANSCRIPT]
    file.write_text("\n".join([*lines[:2], "{broken", *lines[2:]]) + '\n{"type": "user", "mess', encoding="utf-8")
    items = list(claude_code.read(tmp_path))
    found = captured(items)
    assert [item.tags for item in found] == [
        ("summary",), ("prompt",), ("answer",), ("tool-use",), ("tool-result",), ("unknown-type",),
    ]  # fmt: skip
    assert found[1].content == "Fix the \x00 parser"
    assert found[1].created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert {item.session_id for item in found} == {"s1"}
    assert found[4].metadata["full_length"] == 5000
    assert found[4].metadata["sidechain"] is True
    assert found[5].content == "kept \ufffd"
    assert [item.where for item in items if isinstance(item, Problem)] == [f"{file}:3"]
    skipped = [item.kind for item in items if isinstance(item, Skipped)]
    assert skipped == ["file-history-snapshot", "half-written last line"]
    summary = sync(space, items)
    assert (summary.added, len(summary.problems), sum(summary.skipped.values())) == (6, 1, 2)
    assert [memory.tags[0] for memory in space.memories.get_by_session("s1")] == [item.tags[0] for item in found]
    assert sync(space, claude_code.read(file)).unchanged == 6
    with pytest.raises(holdfast.InvalidInputError):
        list(claude_code.read(tmp_path / "none"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("a\ud800"),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["type", "message", "content", "text", "id"]), inner)
    ),
)
LINES = st.builds(
    lambda kind, more: {"type": kind, **more},
    st.sampled_from(["user", "assistant", "summary", "system", "x", None]),
    st.dictionaries(st.sampled_from(["message", "content", "uuid", "sessionId", "timestamp", "name", "input"]), JSON),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(LINES.map(lambda line: json.dumps(line).encode()), st.binary())))
def test_no_line_stops_the_others(tmp_path, lines):
    file = tmp_path / "any.jsonl"
    file.write_bytes(b"\n".join(lines))
    with holdfast.open("memory:") as store:
        sync(store.space("p"), claude_code.read(file))
        sync(store.space("p"), jsonl.read(file))


def test_json_lines_become_memories(space):
    lines = [
        {"content": "whole", "id": "0190163d-8694-739b-aea5-966c26f8ad91", "tags": ["a"], "session_id": "s",
         "source": {"type": "custom", "name": "n"}, "created_at": "2024-01-01T00:00:00Z", "metadata": {"k": 1}},
        {"text": "little", "colour": "red"},
        {"no": "content"},
        [1],
        {"content": "x", "metadata": 5},
        {"content": "x", "created_at": "2024-01-01T00:00:00"},
        {"content": "x", "session_id": ""},
        {"content": "x", "tags": ["\ud800"]},
        {"content": "x", "status": "odd"},
    ]  # fmt: skip
    stream = io.BytesIO("\n".join(json.dumps(line) for line in lines).encode() + b"\n\nbroken")
    items = list(jsonl.read(stream, "in.jsonl"))
    assert [item.where for item in items if isinstance(item, Problem)] == [
        f"in.jsonl:{number}" for number in (3, 4, 5, 6, 7, 8, 9, 11)
    ]
    assert sync(space, items).added == 2
    whole = space.memories.get(UUID("0190163d-8694-739b-aea5-966c26f8ad91"))
    assert (whole.source, whole.tags, whole.metadata) == (holdfast.Custom("n"), ("a",), {"k": 1})
    little = space.memories.list(source="import")[0]
    assert (little.content, little.metadata) == ("little", {"colour": "red"})
    with pytest.raises(holdfast.InvalidInputError):
        list(jsonl.read("/nonexistent/file.jsonl"))
