"""Holdfast: the durable state layer for AI agents.

import holdfast

with holdfast.open("agent.db") as store:
    space = store.space("my-project")
    space.memories.store("Parser rewritten, tests pass", session_id="s1", tags=["parser"])
    for hit in space.memories.search("parser"):
        print(hit.score, hit.record.content)
"""

from holdfast.store import open

__all__ = ["open"]
