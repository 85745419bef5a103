"""What the command line knows of each kind, and how it shows it to a person: on a terminal of 80 columns, and wider."""

from __future__ import annotations

import json

import pytest

import holdfast
from holdfast.cli import root as cli
from holdfast.cli.nouns import NOUNS
from holdfast.cli.output import Output
from holdfast.cli.readable import brief, changes, summary
from holdfast.cli.stores import _size_text


@pytest.fixture(params=["sqlite", "log"])
def url(request, tmp_path, monkeypatch):
    found = str(tmp_path / "store.db") if request.param == "sqlite" else f"log:{tmp_path / 'store'}"
    monkeypatch.setenv("HOLDFAST_STORE", found)
    return found


@pytest.fixture
def call(url, capsys):
    def run(*arguments, code=0):
        assert cli.run(list(arguments)) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


@pytest.fixture
def terminal(call, monkeypatch):
    """Calls as on a terminal; returns lines, which must fit."""
    monkeypatch.setattr(Output, "for_people", property(lambda self: not self.as_json))

    def run(width, *arguments):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = [line.rstrip() for line in call(*arguments).splitlines()]
        assert all(len(line) <= width for line in lines)
        return lines

    return run


@pytest.fixture
def runs(url):
    with holdfast.open(url) as store:
        store.vectors.create_collection("notes", dimension=2, metadata={"by": "me"})
        ids = []
        for first in (True, False):
            with store.run("nightly") as run:
                run.kv.put("build/last", {"ok": first})
                run.vectors.put("notes", "n1", [1.0, float(first)], metadata={"first": first})
                if first:
                    run.json.put("plan", {"steps": ["lex"], "a/b": 1})
                    run.states.init("phase", "idle")
                    with run.traces.span("task", name="build", tags=["ci"]) as root:
                        run.traces.record("tool_call", name="grep", parent=root, attributes={"files": 3})
                        run.traces.record("tool_call", name="sed", parent=root, error="no such file")
                    run.memories.store("long " * 100)
                else:
                    run.json.push("plan", "/steps", "parse")
                    run.json.delete("plan", "/a~1b")
                    run.states.set("phase", "done")
                ids.append(str(run.id))
        return ids


@pytest.mark.parametrize("width", [80, 120])
def test_a_replay_is_read_on_a_terminal(terminal, runs, width):
    lines = terminal(width, "replay", runs[0])
    text = "\n".join(lines)
    assert 'kv build/last\n    {"ok": true}\n' in text
    assert 'json plan\n    {"steps": ["lex"], "a/b": 1}\n' in text
    assert 'state phase\n    "idle"\n' in text
    assert "    name: grep\n" in text and '    attributes: {"files": 3}\n' in text and "    error: no such file" in text
    assert "vector notes/n1\n    dimension: 2\n    digest: bytes " in text
    assert "null" not in text and "[]" not in text  # what is empty is left out


@pytest.mark.parametrize("width", [80, 120])
def test_a_diff_tells_the_places(terminal, runs, width):
    text = "\n".join(terminal(width, "diff", *runs))
    assert "~ kv build/last\n    /ok: true -> false\n" in text
    assert '~ json plan\n    /steps/1: + "parse"\n    /a~1b: - 1\n' in text
    assert '~ state phase\n    "idle" -> "done"\n' in text
    assert "    /metadata/first: true -> false" in text
    assert "- memory " in text and "- trace " in text


def test_a_pipe_gets_one_line_a_key(call, runs):
    lines = call("diff", *runs).splitlines()
    assert '~\tjson\tplan\t/steps/1: + "parse"; /a~1b: - 1' in lines
    assert all(line.count("\t") == 3 for line in lines)
    assert "kv\tbuild/last\t" + '{"ok": true}' in call("replay", runs[0]).splitlines()


def test_traces_are_drawn_as_trees(call, runs):
    (root,) = json.loads(call("list", "traces", "--tree", "--json"))["items"]
    assert [child["name"] for child in root["children"]] == ["grep", "sed"]
    top, grep, sed = call("list", "traces", "--tree").splitlines()
    assert top.startswith("task build, ") and root["id"] in top
    assert grep.startswith("├── tool_call grep, ") and '{"files": 3}' in grep
    assert sed.startswith("└── tool_call sed, ") and ", error: no such file" in sed
    grep_id = root["children"][0]["id"]
    assert call("list", "traces", "--tree", grep_id).startswith("tool_call grep, ")
    assert len(call("list", "traces", root["id"]).splitlines()) == 2
    assert len(call("list", "traces", "--tag", "ci").splitlines()) == 1
    assert "tree" in call("list", "kv", "--tree", code=2)


def test_an_id_is_never_cut(call, terminal, runs):
    for noun in ("traces", "memories", "runs"):
        for item in json.loads(call("list", noun, "--json"))["items"]:
            assert any(item["id"] in line for line in terminal(80, "list", noun))
    assert "└──" in "\n".join(terminal(80, "list", "traces", "--tree"))


def test_vectors_are_listed_shown_and_dropped(call, runs):
    assert call("list", "vectors") == 'notes\t2\tcosine\t{"by": "me"}\n'
    assert call("list", "vectors", "notes") == 'n1\t2\t{"first": false}\n'
    assert call("get", "vectors", "notes", "n1", "--json").startswith('{"collection": "notes", "id": "n1", "vector": [')
    assert json.loads(call("get", "vectors", "notes", "--json"))["dimension"] == 2
    assert "'holdfast list vectors' shows" in call("list", "vectors", "other", code=1)
    assert "--newest" in call("list", "vectors", "--newest", code=2)
    assert call("add", "vectors", "notes", "n2", "[1, 2]") == "n2\n"
    assert "dimensions" in call("add", "vectors", "notes", "n2", "[1, 2, 3]", code=2)
    assert call("delete", "vectors", "notes", "n1", "n2", "--yes") == "2 deleted\n"
    assert call("add", "vectors", "new", "a", json.dumps([0.5] * 20)) == "a\n"
    assert "20 numbers" in call("get", "vectors", "new", "a")
    assert [json.loads(line)["id"] for line in call("export", "vectors").splitlines()] == ["a"]
    assert call("delete", "vectors", "new", "--yes") == "1 deleted\n"
    assert call("list", "vectors").splitlines() == ['notes\t2\tcosine\t{"by": "me"}']


def test_what_is_added_is_listed_exported_and_deleted(call):
    for noun in ("kv", "json", "states"):
        assert call("add", noun, "a/b", '{"n": null}') == "a/b\n"
        assert json.loads(call("get", noun, "a/b", "--json"))["value"] == {"n": None}
        assert call("list", noun, "a/") == 'a/b\t1\t{"n": null}\n'
        assert json.loads(call("export", noun))["key"] == "a/b"
        assert call("delete", noun, "a/b", "--yes") == "1 deleted\n"
        assert "nothing was deleted" in call("delete", noun, "a/b", "--yes", code=1)
    assert call("add", "kv", "none", "null") == "none\n"
    assert '"value": null' in call("export", "kv")
    for n in range(3):
        assert call("add", "events", f"s{n % 2}", f"{n}") == f"{n // 2}\n"
    assert [json.loads(line)["data"] for line in call("export", "events").splitlines()] == [0, 2, 1]
    assert [json.loads(line)["data"] for line in call("export", "events", "s1").splitlines()] == [1]
    assert call("list", "events", "s0", "--newest").splitlines()[0].endswith("\t2")
    span = call("add", "traces", "tool_call", "grep", "--tag", "x").strip()
    assert json.loads(call("export", "traces"))["tags"] == ["x"]
    assert call("delete", "traces", span, "--yes") == "1 deleted\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "two", "words"], "quotes"),
        (["add", "kv", "k", "{x"], "VALUE is not JSON"),
        (["add", "kv", "k", "1", "2"], "holdfast add --help"),
        (["add", "runs", "r"], "holdfast add --help"),
        (["add", "kv", "k", "1", "--tag", "x"], "kv have no tag"),
        (["get", "kv"], "holdfast get kv KEY"),
        (["get", "events", "s", "x"], "SEQUENCE is a number"),
        (["get", "events", "s"], "STREAM SEQUENCE"),
        (["get", "a", "b"], "nouns: memories"),
        (["list", "kv", "--tag", "x"], "--tag"),
        (["list", "kv", "--session", "x"], "--session"),
        (["list", "spaces", "--newest"], "--newest"),
        (["list", "events", "--newest"], "--newest"),
        (["list", "memories", "x"], "nothing can follow"),
        (["delete", "events", "s"], "forget"),
        (["delete", "kv"], "say which"),
        (["delete", "kv", "k", "--purge"], "--purge is for memories"),
        (["export", "runs", "x"], "nothing can follow"),
        (["init", "a.db", "--store", "b.db"], "two stores"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_a_misuse_says_what_to_do(call, arguments, words):
    call("init")
    error = call(*arguments, code=2)
    assert error.startswith("holdfast: error: ") and error.count("\n") == 1 and words in error


def test_init_takes_the_store_as_argument(call, tmp_path, monkeypatch, capsys):
    for target in (f"log:{tmp_path / 'one'}", str(tmp_path / "two.db")):
        assert cli.run(["init", target]) == 0
        said = capsys.readouterr()
        assert said.out == f"{target} is ready\n" and f"export HOLDFAST_STORE={target}" in said.err
        assert call("add", "x", "--store", target)
        assert call("--store", target, "list", "--json")
        assert "1 memories" in call("status", "--store", target)
    assert f"log:{tmp_path}" in call("status", "--store", str(tmp_path / "one"), code=1)
    assert f"holdfast init log:{tmp_path / 'none'}" in call("status", "--store", f"log:{tmp_path / 'none'}", code=1)


def test_help_shows_every_command_in_a_group(call):
    text = call("--help")
    assert all(f"\n  {name} " in text for name in cli._COMMANDS)
    assert "..." not in text.split("\nBegin:\n")[1].replace("event, vector ...", "")  # no sentence is cut
    places = [text.index(f"\n{title}:\n") for title in cli._GROUPS]
    assert places == sorted(places)


def test_a_store_that_is_in_use_is_looked_at(terminal, call, url):
    with holdfast.open(url) as store:
        for n in range(3):
            store.kv.put(f"k{n}", n)
        store.space("other").states.init("phase", "idle")
        lines = terminal(120 if url.startswith("log:") else 200, "status")
        assert lines[0] == f"store       {url} ({store.status()['backend']})"
        assert any(line.startswith("size        ") and line.endswith("B") for line in lines)
        assert lines.index("            3 kv") == lines.index("            1 states") - 2
        assert any(line.startswith("space       other: last commit 20") for line in lines)
        assert json.loads(call("status", "--json"))["spaces"]["default"]["records"] == {"kv": 3}
        if url.startswith("log:"):
            dumped = call("log", "dump", "--from", "3", "--limit", "1").splitlines()
            assert " default commit 3 " in dumped[-2] and dumped[-1].startswith("  kv put 'k2' ")
            assert "open for writing by process" in call("add", "x", code=1)
        else:
            assert "has no log" in call("log", "dump", code=1)


@pytest.mark.parametrize(("size", "text"), [(999, "999 bytes"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3.21e9, "3.2 GB")])
def test_a_size_is_said_as_people_say_it(size, text):
    assert _size_text(int(size)) == text


def test_each_attribute_of_a_space_is_a_noun():
    assert set(NOUNS) == {primitive.attribute for primitive in holdfast.REGISTRY}


def test_what_is_long_is_cut_and_says_so():
    assert brief("x" * 201, quoted=False) == "x" * 200 + "..."
    assert brief([1, 2.5] * 5) == "[1, 2.5, 1, 2.5, 1, 2.5, 1, 2.5, ... 10 numbers]"
    assert brief("a\x1b[0m\nb") == '"a\\u001b[0m\\nb"'
    assert summary({"value": None, "metadata": {}, "tags": [], "n": 0, "on": False}) == ["null", "n: 0"]
    assert changes({"a": {}}, {"a": {str(n): n for n in range(20)}})[-1] == "... and 8 more"
    assert changes({"value": 1}, {"value": True}) == ["1 -> true"]
