"""The main job on real material, in under a minute: ``python -m holdfast.demo`` (or ``make demo``).

Takes in this repository's documents and history; runs an agent in a process of its own that writes in transactions
while it is killed with SIGKILL several times; then shows that every acknowledged write is there and no half of one,
searches, and replays the run. All of that on an SQLite file, and on a write-ahead log. Ends with 1 if any is not so.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdfast

FOLDER = Path(".demo")
STORES = {"SQLite": f"{FOLDER}/agent.db", "log": f"log:{FOLDER}/agent"}
SPACE = "demo"
KILLS = 5
STEPS = 400
STREAM = "steps"


def agent(store: str, run_id: str) -> None:
    """The agent: each step is one transaction of three kinds of records; a step is told when it is acknowledged."""
    with holdfast.open(store, create=False) as opened:
        run = opened.space(SPACE).runs.resume(run_id)
        for step in range(run.events.length(STREAM), STEPS):
            with run.transaction() as tx:
                tx.memories.store(
                    f"Step {step}: read file number {step % 17} and found nothing that is lost",
                    session_id="demo",
                    tags=["agent"],
                    metadata={"step": step},
                )
                tx.kv.put(f"step/{step:04}", {"done": True})
                tx.events.append(STREAM, {"step": step}, type="step.done")
            print(step, flush=True)
            sys.stdin.readline()  # whoever drives it says when to go on


def drive(store: str, run_id: str, kills: int) -> tuple[set[int], int]:
    """Run the agent and kill it; return the steps that it acknowledged, and how often it was killed.

    Raises RuntimeError if it ends in any other way than by the kill or with its work done.
    """
    acknowledged: set[int] = set()
    killed = 0
    while True:
        command = [sys.executable, "-m", "holdfast.demo", "--agent", store, run_id]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            patience = random.randint(5, STEPS // (kills + 1)) if killed < kills else STEPS
            for count, line in enumerate(process.stdout, 1):
                acknowledged.add(int(line))
                try:
                    process.stdin.write("\n")
                    process.stdin.flush()
                except BrokenPipeError:
                    break  # it has ended; the return code says how
                if count == patience and killed < kills:
                    time.sleep(random.uniform(0, 0.002))  # so that it strikes anywhere in the next step
                    process.kill()
                    break
            acknowledged.update(int(line) for line in process.stdout)  # told before it was killed
        if process.returncode == 0:
            return acknowledged, killed
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the agent ended with {process.returncode}, and nobody killed it")
        killed += 1


def check(space: holdfast.Space, acknowledged: set[int]) -> tuple[int, int, int]:
    """Return how many acknowledged steps are lost, how many are there by half, and how many records twice."""
    kept: list[Any] = [memory.metadata["step"] for memory in space.memories.list(tags=["agent"], limit=None)]
    values = {int(key.removeprefix("step/")) for key in space.kv.keys("step/", limit=100_000)}
    told: list[Any] = [event.data for event in space.events.read(STREAM, limit=100_000)]
    memories, events = set(kept), {data["step"] for data in told}
    lost = acknowledged - (memories & values & events)
    half = (memories | values | events) - (memories & values & events)
    return len(lost), len(half), len(kept) - len(memories) + len(told) - len(events)


def trial(url: str, tell: Callable[[str], object]) -> tuple[list[tuple[str, Any, bool]], list[Any], int]:
    """Do the main job on one store; return what was found (name, value, whether it is good), the hits, and the size.

    Raises RuntimeError as ``drive`` does.
    """
    from holdfast.capture import git, markdown
    from holdfast.capture.sync import sync

    with holdfast.open(url) as store:
        space = store.space(SPACE)
        documents = sync(space, markdown.read([Path("README.md"), *sorted(Path("docs").glob("*"))]))
        commits = sync(space, git.read("."))
        tell(f"took in [bold]{documents.added}[/bold] chunks of documents, [bold]{commits.added}[/bold] commits")
        run_id = space.runs.create("demo agent", tags=["demo"]).id
    tell(f"an agent makes {STEPS} steps, each a transaction of a memory, a value and an event ...")
    acknowledged, killed = drive(url, str(run_id), KILLS)
    tell(f"... and was killed with SIGKILL [bold]{killed}[/bold] times; it acknowledged {len(acknowledged)} steps")
    with holdfast.open(url) as store:
        space = store.space(SPACE)
        lost, half, double = check(space, acknowledged)
        chain = space.events.verify(STREAM)
        replay = space.replay(run_id)
        same = replay.kv.scan(limit=STEPS).items == space.kv.scan(limit=STEPS).items
        space.runs.end(run_id)
        faults = store.verify()
        hits = space.memories.search("acknowledged write never lost", limit=3)
        size = store.status()["bytes"]
    found: list[tuple[str, Any, bool]] = [
        ("acknowledged steps lost", lost, lost == 0),
        ("transactions there by half", half, half == 0),
        ("records there twice", double, double == 0),
        ("hash chain of the events", "whole" if chain.ok else chain.error, chain.ok and chain.length == STEPS),
        ("replay of the run", f"{replay.entries} entries{'' if same else ', NOT the same'}", same),
        ("faults that verify found", len(faults), not faults),
        ("found by search", len(hits), bool(hits)),
    ]
    return found, hits, size


def main() -> int:
    """Run the demonstration and return the exit code."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    console.print(
        "[bold]Holdfast[/bold]: an acknowledged write is never lost, never half-visible, never silently changed"
    )
    trials = {}
    for number, (name, url) in enumerate(STORES.items(), 1):
        console.print(f"\n{number}. {name} ({url})")
        try:
            trials[name] = trial(url, lambda text: console.print(f"   {text}"))
        except RuntimeError as error:
            console.print(f"   [red]✗[/red] {error}")
            return 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "", *trials):
        table.add_column(heading)
    for row in zip(*(found for found, _, _ in trials.values()), strict=True):
        cells = [f"{'[green]✓[/green]' if good else '[red]✗[/red]'} {value}" for _, value, good in row]
        table.add_row("  ", row[0][0], *cells)
    console.print("\n3. After reopening:")
    console.print(table)
    console.print('\n4. Searched for "acknowledged write never lost":')
    for hit in next(iter(trials.values()))[1]:
        place = hit.record.file_path or hit.record.metadata.get("commit", "")
        console.print(f"   {hit.score:.2f}  [cyan]{str(place)[:24]:24}[/cyan] ", end="")
        console.print(" ".join(hit.highlight.split())[: max(20, console.width - 36)], markup=False)
    for name, url in STORES.items():
        size = trials[name][2] / 1e6
        console.print(f"\nLook at it ({size:.1f} MB): .venv/bin/holdfast status --store {url}", end="")
    console.print()
    return 0 if all(good for found, _, _ in trials.values() for _, _, good in found) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agent"]:
        agent(*sys.argv[2:4])
    else:
        sys.exit(main())
