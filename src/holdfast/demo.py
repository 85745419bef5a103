"""The main job on real material, in under a minute: ``python -m holdfast.demo`` (or ``make demo``).

Takes in this repository's documents and history; runs an agent in a process of its own that writes in transactions
while it is killed with SIGKILL several times; then shows that every acknowledged write is there and no half of one,
searches, and replays the run. Ends with 1 if any of that is not so.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import holdfast

STORE = Path(".demo") / "agent.db"
SPACE = "demo"
KILLS = 5
STEPS = 400
STREAM = "steps"


def agent(store_path: str, run_id: str) -> None:
    """The agent: each step is one transaction of three kinds of records; a step is told when it is acknowledged."""
    with holdfast.open(store_path, create=False) as store:
        run = store.space(SPACE).runs.resume(run_id)
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


def drive(run_id: str, kills: int) -> tuple[set[int], int]:
    """Run the agent and kill it; return the steps that it acknowledged, and how often it was killed.

    Raises RuntimeError if it ends in any other way than by the kill or with its work done.
    """
    acknowledged: set[int] = set()
    killed = 0
    while True:
        command = [sys.executable, "-m", "holdfast.demo", "--agent", str(STORE), run_id]
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


def main() -> int:
    """Run the demonstration and return the exit code."""
    from rich.console import Console
    from rich.table import Table

    from holdfast.capture import git, markdown
    from holdfast.capture.sync import sync

    console = Console(highlight=False, soft_wrap=True)
    shutil.rmtree(STORE.parent, ignore_errors=True)
    console.print(
        "[bold]Holdfast[/bold]: an acknowledged write is never lost, never half-visible, never silently changed\n"
    )
    with holdfast.open(STORE) as store:
        space = store.space(SPACE)
        documents = sync(space, markdown.read([Path("README.md"), *sorted(Path("docs").glob("*"))]))
        commits = sync(space, git.read("."))
        console.print(
            f"1. Took in [bold]{documents.added}[/bold] chunks of documents, [bold]{commits.added}[/bold] commits"
        )
        run_id = space.runs.create("demo agent", tags=["demo"]).id
    console.print(f"2. An agent makes {STEPS} steps, each a transaction of a memory, a value and an event ...")
    try:
        acknowledged, killed = drive(str(run_id), KILLS)
    except RuntimeError as error:
        console.print(f"   [red]✗[/red] {error}")
        return 1
    console.print(
        f"   ... and was killed with SIGKILL [bold]{killed}[/bold] times; it acknowledged {len(acknowledged)} steps"
    )
    with holdfast.open(STORE) as store:
        space = store.space(SPACE)
        lost, half, double = check(space, acknowledged)
        chain = space.events.verify(STREAM)
        replay = space.replay(run_id)
        same = replay.kv.scan(limit=STEPS).items == space.kv.scan(limit=STEPS).items
        space.runs.end(run_id)
        faults = store.verify()
        hits = space.memories.search("acknowledged write never lost", limit=3)
        size = store.status()["bytes"]
    table = Table(box=None, pad_edge=False, show_header=False)
    rows: list[tuple[str, Any, bool]] = [
        ("acknowledged steps that are lost", lost, lost == 0),
        ("transactions that are there by half", half, half == 0),
        ("records that are there twice", double, double == 0),
        ("hash chain of the events", "whole" if chain.ok else chain.error, chain.ok and chain.length == STEPS),
        ("replay of the run", f"{replay.entries} entries, {'the same' if same else 'NOT the same'} values", same),
        ("faults that verify found", len(faults), not faults),
        ("found by search", len(hits), bool(hits)),
    ]
    for name, value, good in rows:
        table.add_row("  ", "[green]✓[/green]" if good else "[red]✗[/red]", name, f"[bold]{value}[/bold]")
    console.print("\n3. After reopening:")
    console.print(table)
    console.print('\n4. Searched for "acknowledged write never lost":')
    for hit in hits:
        place = hit.record.file_path or hit.record.metadata.get("commit", "")
        console.print(f"   {hit.score:.2f}  [cyan]{str(place)[:24]:24}[/cyan] ", end="")
        console.print(" ".join(hit.highlight.split())[: max(20, console.width - 36)], markup=False)
    console.print(
        f"\nThe store is {STORE} ({size / 1e6:.1f} MB). Look at it: .venv/bin/holdfast status --store {STORE}"
    )
    return 0 if all(good for _, _, good in rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agent"]:
        agent(*sys.argv[2:4])
    else:
        sys.exit(main())
