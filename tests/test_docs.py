"""The documents: every example runs, every link leads somewhere, every command exists."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from holdfast import codec, entry_types, keys
from holdfast.backends.log_engine import image, transcript
from holdfast.backends.log_engine.refold import OpaqueEntry
from holdfast.cli import root as cli
from holdfast.log import blobs, frame, slots, snapshot
from holdfast.model import BlobRef, Record
from holdfast.primitives import vector
from holdfast.search import index_file

ROOT = Path(__file__).parent.parent
LAYOUTS = [keys, codec, entry_types, frame, slots, snapshot, blobs, image, transcript, vector, index_file]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_examples_of_a_page_run_in_order(page, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    if blocks:
        script = tmp_path / "page.py"
        script.write_text("\n".join(blocks), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_exist(page):
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for command in re.findall(r"^holdfast ([a-z-]+)", block, re.MULTILINE):
            assert command in cli._COMMANDS


def test_the_reference_is_what_the_docstrings_say():
    done = subprocess.run([sys.executable, "tools/reference.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run make reference"


@pytest.mark.parametrize("module", LAYOUTS, ids=lambda module: module.__name__)
def test_the_format_page_has_the_layouts_of_the_docstrings(module):
    tables = re.findall(r"(?:^    .*\n)+", inspect.cleandoc(module.__doc__) + "\n", re.MULTILINE)
    assert tables
    for table in tables:
        assert textwrap.dedent(table) in (ROOT / "docs" / "format.md").read_text(encoding="utf-8"), (
            "update docs/format.md"
        )


def test_the_format_page_has_the_fields_of_records_and_opaque_entries():
    text = " ".join((ROOT / "docs" / "format.md").read_text(encoding="utf-8").split())
    for struct in (Record, OpaqueEntry, BlobRef):
        assert f"[{', '.join(struct.__struct_fields__)}]" in text, "update docs/format.md"


def test_the_version_is_told_once():
    import holdfast

    assert f'version = "{holdfast.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert holdfast.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    with pytest.raises(AttributeError, match="nothing"):
        holdfast.nothing  # noqa: B018
