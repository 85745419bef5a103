"""The command line, called as a process calls it; a few times as a real process."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time

import pytest

import holdfast
from holdfast.cli import root as cli


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOLDFAST_STORE", str(tmp_path / "store.db"))
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run(*arguments):
        code = cli.run(list(arguments))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


COMMANDS = [name for name in cli._COMMANDS if name not in ("import", "log")]
IMPORTS = ["markdown", "git", "claude-code", "jsonl"]
WORDS = [[one] for one in COMMANDS] + [["import", one] for one in IMPORTS] + [["log", "dump"]]


@pytest.mark.parametrize(
    "words", [[one] for one in COMMANDS] + [["import", one] for one in IMPORTS] + [["log", "dump"]], ids=" ".join
)
def test_each_command_teaches_and_takes_the_shared_options(call, words):
    result = call(*words, "--help")
    assert result.code == 0
    assert "Example: holdfast " + " ".join(words) in result.out
    for option in ("--store", "--space", "--json"):
        assert option in result.out


def test_the_first_five_minutes(call):
    assert call("init").code == 0
    added = call("add", "Parser rewritten", "--tag", "parser", "--session", "s1", "--json").json
    assert added["tags"] == ["parser"]
    assert call("get", added["id"], "--json").json == added
    assert "Parser rewritten" in call("get", added["id"]).out
    hits = call("--json", "search", "parser").json["items"]
    assert [hit["record"]["id"] for hit in hits] == [added["id"]]
    assert call("search", "parser", "--tag", "other").err == "nothing was found\n"
    assert call("list", "--session", "s1").out.split("\t")[0] == added["id"]
    status = call("status", "--json").json
    assert status["spaces"]["default"]["records"] == {"memories": 1}
    assert "1 memories" in call("status").out
    assert call("verify").out == "all is well\n"
    assert call("delete", added["id"], "--yes").out == "1 deleted\n"
    assert call("get", added["id"]).code == 1
    assert call("list", "spaces").out == "default\n"


def test_spaces_are_apart(call):
    call("add", "here", "--space", "a")
    assert call("list", "--space", "b", "--json").json == {"items": [], "cursor": None}
    assert len(call("--space", "a", "list", "--json").json["items"]) == 1


def test_all_nouns_can_be_listed_and_got(call, tmp_path):
    with holdfast.open(tmp_path / "store.db") as store:
        store.kv.put("build/last", {"ok": True})
        store.json.create("plan", {"steps": ["lex"]})
        store.states.init("phase", "idle")
        span = store.traces.record("tool_call", name="grep", error="no such file")
        store.events.append("builds", {"n": 1})
        with store.run("nightly") as run:
            run.kv.put("x", 1)
            run.kv.put("y", 1)
        with store.run("nightly") as other:
            other.kv.put("x", 2)
            other.kv.delete("y")
            other.kv.put("z", b"\x00")
    assert call("list", "kv", "build/").out == 'build/last\t1\t{"ok": true}\n'
    assert call("list", "states", "ph").out == 'phase\t1\t"idle"\n'
    assert call("get", "states", "phase", "--json").json["value"] == "idle"
    assert call("list", "traces").out.endswith("\ttool_call\tgrep\terror\n")
    assert call("get", "traces", str(span.id), "--json").json["error"] == "no such file"
    assert call("list", "events").out == "builds\t1\n"
    assert "event" in call("list", "events", "builds").out
    assert [one["name"] for one in call("list", "runs", "--json").json["items"]] == ["nightly", "nightly"]
    assert call("get", "kv", "build/last", "--json").json["value"] == {"ok": True}
    assert call("list", "json", "pl").out == 'plan\t1\t{"steps": ["lex"]}\n'
    assert call("get", "json", "plan", "--json").json["value"] == {"steps": ["lex"]}
    assert call("get", "events", "builds", "0", "--json").json["data"] == {"n": 1}
    assert call("get", "runs", str(run.id), "--json").json["status"] == "completed"
    assert call("get", "events", "builds").code == 2
    replayed = call("replay", str(run.id), "--json").json
    assert [(one["key"], one["deleted"]) for one in replayed["keys"]] == [("x", False), ("y", False)]
    assert call("replay", str(run.id)).err == "2 entries in 2 commits\n"
    found = call("diff", str(run.id), str(other.id), "--json").json
    assert [[one["key"] for one in found[name]] for name in ("added", "removed", "modified")] == [["z"], ["y"], ["x"]]
    assert call("diff", str(run.id), str(run.id)).err == "the two runs made the same\n"
    assert "~\tkv\tx" in call("diff", str(run.id), str(other.id)).out


def test_pages_go_on_where_they_ended(call):
    for n in range(5):
        call("add", f"memory {n}")
    first = call("list", "--limit", "3", "--json").json
    rest = call("list", "--limit", "3", "--after", first["cursor"], "--json").json
    assert [one["content"] for one in first["items"] + rest["items"]] == [f"memory {n}" for n in range(5)]
    assert call("list", "--newest", "--limit", "1", "--json").json["items"][0]["content"] == "memory 4"


def test_what_is_exported_can_be_imported(call, tmp_path):
    call("add", "one", "--tag", "a", "--space", "from")
    call("add", "two\n\twith \x1b[31m control", "--space", "from")
    file = tmp_path / "out.jsonl"
    assert call("export", "--space", "from", "--output", str(file)).err == "2 memories exported\n"
    assert call("import", "jsonl", str(file), "--dry-run", "--json", "--space", "to").json["added"] == 2
    assert call("list", "--space", "to").out == ""
    assert call("import", "jsonl", str(file), "--space", "to").code == 0
    assert "\\x1b" in call("list", "--space", "to").out
    again = call("export", "--space", "to")
    drop = ("revision", "version", "updated_at")
    before, after = ([{k: v for k, v in json.loads(line).items() if k not in drop} for line in text.splitlines()]
                     for text in (file.read_text(), again.out))  # fmt: skip
    assert before == after


def test_problems_of_an_import_are_told(call, tmp_path):
    (tmp_path / "bad.md").write_bytes(b"\xff")
    result = call("import", "markdown", str(tmp_path / "bad.md"))
    assert result.code == 1
    assert "not UTF-8" in result.err
    assert call("import", "git", str(tmp_path)).code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["get", "nope"], 2, "UUID"),
        (["get", "0190163d-8694-739b-aea5-966c26f8ad91"], 1, "there is no"),
        (["delete", "0190163d-8694-739b-aea5-966c26f8ad91", "--yes"], 1, "nothing was deleted"),
        (["replay", "0190163d-8694-739b-aea5-966c26f8ad91"], 1, "does not exist"),
        (["search", "!!"], 2, "no word"),
        (["list", "--since", "soon"], 2, "no time"),
        (["list", "--limit", "0"], 2, "limit"),
        (["list", "--after", "%%"], 2, "cursor"),
        (["list", "nouns"], 2, "nouns"),
        (["add", ""], 2, "content"),
        (["add", "x", "--space", "a/b"], 2, "space"),
        (["status", "--store", "redis:x"], 2, "unknown"),
        (["status", "--store", "/nonexistent/store.db"], 1, "does not exist"),
        (["frobnicate"], 2, "frobnicate"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_an_error_is_one_line_that_teaches(call, arguments, code, words):
    call("init")
    result = call(*arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("holdfast: error: ")
    assert result.err.count("\n") == 1
    assert words in result.err
    as_json = call(*arguments, "--json")
    assert words in json.loads(as_json.err)["error"]["message"]


def test_a_command_that_reads_makes_no_store(call, tmp_path):
    for words in (["status"], ["list"], ["search", "x"], ["verify"], ["export"]):
        assert call(*words).code == 1
    assert list(tmp_path.iterdir()) == []


def test_verify_fails_where_something_is_wrong(call, tmp_path):
    import apsw

    call("add", "x")
    connection = apsw.Connection(str(tmp_path / "store.db"))
    connection.execute("UPDATE spaces SET counts = '{\"8\": 7}'")
    connection.close()
    result = call("verify")
    assert result.code == 1
    assert "counters" in result.out


def test_completion(call):
    for shell in ("bash", "zsh", "fish"):
        assert "holdfast" in call("completion", shell).out


def process(tmp_path, *arguments, **options):
    environment = {"PATH": "/usr/bin:/bin", "HOLDFAST_STORE": str(tmp_path / "store.db"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "holdfast", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **options)


def test_a_closed_pipe_is_no_error(tmp_path):
    with holdfast.open(tmp_path / "store.db") as store:
        store.memories.store_many([holdfast.NewMemory(content="word " * 2000) for _ in range(100)])
    running = process(tmp_path, "export")
    running.stdout.read(10)
    running.stdout.close()
    assert (running.stderr.read(), running.wait()) == (b"", 0)


def test_standard_input_and_an_interrupt(tmp_path):
    adding = process(tmp_path, "add", "-", stdin=subprocess.PIPE)
    out, err = adding.communicate("ünïcode".encode())
    assert (adding.returncode, err) == (0, b"")
    with holdfast.open(tmp_path / "store.db") as store:
        assert store.memories.get(out.decode().strip()).content == "ünïcode"
    waiting = process(tmp_path, "import", "jsonl", "-", stdin=subprocess.PIPE)
    time.sleep(1)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(10) == 130
    assert b"interrupted" in waiting.stderr.read()
    waiting.stdin.close()
    waiting.stdout.close()
    waiting.stderr.close()


@pytest.fixture
def damaged(tmp_path):
    """A log store whose third transaction of six is damaged."""
    directory = tmp_path / "agent"
    with holdfast.open(f"log:{directory}") as store:
        for n in range(4):
            store.kv.put(f"k{n}", n)
        store.space("other").kv.put("x", 1)
        with store.run("r") as run:
            run.kv.put("in", "a run")
    (segment,) = (directory / "wal").iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(b"k2")] ^= 1
    segment.write_bytes(data)
    return directory


def test_a_damaged_log_store_is_verified_dumped_and_repaired(call, damaged, tmp_path):
    result = call("verify", "--store", f"log:{damaged}", "--json")
    assert result.code == 1
    assert result.json["ok"] is False and "the frame 3 does not match" in result.json["faults"][0]
    dumped = call("log", "dump", str(damaged)).out.splitlines()
    assert any("FAULT: the frame 3 does not match its checksum" in line for line in dumped)
    assert "  kv put 'k3' " in "\n".join(dumped) and any(" run " in line for line in dumped)
    some = call("log", "dump", f"log:{damaged}", "--space", "other", "--from", "4", "--limit", "1", "--json").out
    frames = [json.loads(line) for line in some.splitlines() if json.loads(line)["type"] == "frame"]
    assert [(frame["space"], frame["entries"][0]["key"]) for frame in frames] == [("other", "x")]
    target = tmp_path / "new"
    result = call("repair", str(damaged), f"log:{target}", "--salvage")
    assert result.code == 1 and "keep" in result.err
    assert "transaction 3 is gone" in result.out and "readable, not taken: transactions 4..9" in result.out
    assert "lost: space 'default', commits 3..8, 5 of them readable" in result.out and "salvaged: " in result.out
    assert call("get", "kv", "k1", "--store", f"log:{target}", "--json").json["value"] == 1
    result = call("verify", "--store", f"log:{target}")
    assert result.code == 0 and "salvaged.jsonl" in result.err
    status = call("status", "--store", f"log:{target}").out
    assert "recovery    snapshot at 2 with 2 records, then 0 transactions with 0 entries" in status
    assert "note        " in status
    result = call("repair", f"log:{target}", str(tmp_path / "again"), "--json")
    assert result.code == 0 and result.json["whole"] is True
    assert call("repair", str(target), str(tmp_path / "third")).out.endswith("nothing is lost\n")
    assert call("repair", str(target), str(tmp_path / "third")).code == 1


def test_what_a_repair_does_not_know_is_told(call, damaged, tmp_path):
    (segment,) = (damaged / "wal").iterdir()
    segment.write_bytes(b"nothing" * 20)
    (damaged / "DURABLE").unlink()
    out = call("repair", str(damaged), str(tmp_path / "new")).out
    assert "transactions 1..? are gone" in out and "an unknown number of transactions" in out


def test_stores_that_have_no_log(call, tmp_path):
    call("add", "x")
    file = str(tmp_path / "store.db")
    result = call("repair", file, str(tmp_path / "new"))
    assert result.code == 1 and ".recover" in result.err
    (tmp_path / "other").write_bytes(b"no store at all")
    for words in (["repair", str(tmp_path / "other"), "x"], ["repair", "nothing", "x"], ["log", "dump", "nothing"]):
        assert call(*words).code == 2
    assert "no log of Holdfast's" in call("log", "dump").err
    assert call("log", "dump", str(tmp_path)).code == 1
    assert call("log", "dump", "--store", f"log:{tmp_path / 'none'}").code == 1


def test_looking_after_a_store(call, tmp_path):
    with holdfast.open(tmp_path / "store.db") as store:
        store.kv.put("gone", 1, ttl=1e-6)
        store.space("trial").kv.put("gone", 1, ttl=1e-6)
        secret = store.memories.store("xylophone", session_id="s1")
        store.memories.store("marimba", session_id="s1")
        with store.run("r") as run:
            run.kv.put("mine", 1)
        active = store.space("default").run("active")
    assert [one["name"] for one in call("spaces", "--json").json["items"]] == ["default", "trial"]
    assert call("spaces").out.split("\t")[:2] == ["default", "5"]
    swept = call("sweep", "--dry-run", "--json").json
    assert swept == {"swept": {"default": {"kv": 1}, "trial": {"kv": 1}}, "dry_run": True}
    assert call("sweep", "--space", "trial", "--limit", "9").out == "trial\tkv\t1\n"
    assert call("sweep").out == "default\tkv\t1\n" and call("sweep").err == "nothing has expired\n"
    assert call("sweep", "--limit", "0").code == 2 and call("sweep", "--space", "trial").out == ""
    would = call("forget", "memory", str(secret.id), "--dry-run", "--json").json
    assert would["records"] == 1 and would["dry_run"] and would["left"] == []
    assert call("forget", "memory", str(secret.id)).out == f"memory\t{secret.id}\n"
    assert "1 records" in call("forget", "--session", "s1", "--yes").err
    assert call("forget", "--run", str(run.id)).code == 0
    assert call("forget", "--run", str(run.id)).code == 1 and call("forget", "--run", str(active.id)).code == 1
    assert call("forget", "kv", "never").code == 1
    assert call("forget").code == 2 and call("forget", "nope", "a").code == 2
    done = call("compact", "--keep-changes", "0", "--json").json
    assert done["bytes_after"] <= done["bytes_before"] and done["trimmed"] > 0 and done["notes"] == []
    assert b"xylophon" not in (tmp_path / "store.db").read_bytes() and " MB -> " in call("compact").out
    with holdfast.open(tmp_path / "store.db") as store:
        store.space("trial").kv.put("a", 1)
    assert call("drop-space", "trial", "--dry-run", "--json").json["records"] == {"kv": 1}
    assert call("drop-space", "trial").out == "trial is dropped: 1 records\n"
    assert call("drop-space", "trial").code == 1 and call("spaces").out.split("\t")[0] == "default"
    assert call("verify").code == 0


def test_intents_are_drawn(call, monkeypatch):
    call("init")
    with holdfast.open() as store:
        goal = store.intents.persist("Ship the parser", priority=2)
        task = store.intents.persist("Write tests", name="tests", parent=goal.id)
    lines = call("intents", "tree").out.splitlines()
    assert lines == [f"Ship the parser\tactive\t{goal.id}", f"  tests\tactive\t{task.id}"]
    assert call("intents", "tree", str(task.id)).out == f"tests\tactive\t{task.id}\n"
    whole = call("intents", "tree", "--json").json["items"]
    assert whole[0]["children"][0]["intent"]["goal"] == "Write tests"
    assert "digraph intents" in call("intents", "dot").out and "graph TD" in call("intents", "mermaid").out
    assert call("intents", "dot", str(task.id)).code == 2
    assert call("intents", "tree", "00000000-0000-0000-0000-000000000000").code == 1
    monkeypatch.setattr("holdfast.cli.output.Output.for_people", True)
    drawn = call("intents", "tree").out
    assert "Ship the parser" in drawn and "── tests" in drawn
    monkeypatch.undo()


def test_intents_are_listed(call):
    call("init")
    with holdfast.open() as store:
        goal = store.intents.persist("Ship the parser", priority=2)
    assert call("list", "intents", "--json").json["items"][0]["id"] == str(goal.id)
    assert call("get", "intents", str(goal.id), "--json").json["goal"] == "Ship the parser"
