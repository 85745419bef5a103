"""Markdown files as chunks: one a heading, long sections split at blank lines.

Promises: every character that is not white space stands in exactly one chunk; the order is that of the file. Headings
are found by markdown-it-py, so a ``#`` in a code block is none. A file that cannot be read is a Problem, and the
others go on.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdfast.capture.item import Captured, Complete, Item, Problem, clean, identity, shown
from holdfast.errors import InvalidInputError, UnsupportedError
from holdfast.primitives.source import DocumentChunk

SUFFIXES = (".md", ".markdown")
SKIPPED_FOLDERS = ("node_modules", "__pycache__")
WORDS_MAX = 400
WORDS_MIN = 20
_FRONT_MATTER_LINE = re.compile(r"\s|#|-|[\w\"'.-]+\s*:")


class Section(msgspec.Struct):
    """Lines [start, end) of a file, counted from 0, under a heading path."""

    start: int
    end: int
    heading: str | None


def read(paths: Iterable[Path | str]) -> Iterator[Item]:
    """Read files and folders. A file is called by its path relative to the working folder where it stands below that,
    else by its whole path, so that two files never have one name.

    Raises InvalidInputError if a path does not exist; UnsupportedError without markdown-it-py.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        message = "importing Markdown needs markdown-it-py: pip install 'holdfast[markdown]'"
        raise UnsupportedError(message, capability="markdown") from error
    parser = MarkdownIt("commonmark")
    for given in paths:
        root = Path(given)
        if not root.exists():
            raise InvalidInputError("path", f"{root} does not exist")
        for found in [root] if root.is_file() else _files_below(root):
            if isinstance(found, Problem):
                yield found
            else:
                yield from read_file(found, parser)


def _files_below(root: Path) -> Iterator[Path | Problem]:
    refused: list[OSError] = []
    for folder, folders, files in os.walk(root, followlinks=False, onerror=refused.append):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in SKIPPED_FOLDERS)
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES):
                yield Path(folder, name)
    for error in refused:
        yield Problem(shown(str(error.filename)), error.strerror or str(error))


def name_of(path: Path) -> str:
    """Return what the chunks call a file: its path below the working folder, or its whole path; POSIX form."""
    whole = path.resolve()
    below = Path.cwd().resolve()
    return (whole.relative_to(below) if whole.is_relative_to(below) else whole).as_posix()


def read_file(path: Path, parser: Any) -> Iterator[Item]:
    """Read one file; it ends with a Complete, so that chunks which are gone can be told from a file that failed."""
    name = name_of(path)
    try:
        name.encode()
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        yield Problem(str(path), error.strerror or str(error))
        return
    except UnicodeEncodeError:
        yield Problem(shown(str(path)), "has a name that is not UTF-8")
        return
    except UnicodeDecodeError as error:
        yield Problem(str(path), f"is not UTF-8 (byte {error.start})")
        return
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    body_start = _front_matter_lines(lines)
    sections = split(lines, body_start, parser)
    if body_start and sections and sections[0].start == body_start:
        sections[0].start = 0  # the front matter is part of the first chunk, so that it can be found
    elif body_start:
        sections.insert(0, Section(0, body_start, None))
    digest = hashlib.sha256(data).hexdigest()
    starts_chars, starts_words = _offsets(lines)
    for index, section in enumerate(sections):
        source = DocumentChunk(
            name,
            index,
            len(sections),
            starts_words[section.start],
            starts_chars[section.start],
            section.start + 1,
            section.end,
            section.heading,
            digest,
        )
        notes: dict[str, Any] = {}
        yield Captured(
            id=identity("markdown", name, index),
            content=clean("\n".join(lines[section.start : section.end]).strip("\n"), notes),
            source=source,
            tags=("document",),
            file_path=name,
            metadata=notes,
        )
    yield Complete(name)


def split(lines: list[str], body_start: int, parser: Any) -> list[Section]:
    """Return the sections of a file: one a heading, long ones split, tiny ones with the one before them."""
    tokens = parser.parse("\n".join(lines[body_start:]))
    headings: list[tuple[int, int, str]] = []
    breaks: set[int] = set()
    for place, token in enumerate(tokens):
        if token.map is None or token.level:
            continue
        if token.type == "heading_open":
            headings.append((token.map[0] + body_start, int(token.tag[1:]), tokens[place + 1].content.strip()))
        breaks.add(token.map[0] + body_start)
    sections: list[Section] = []
    above: list[tuple[int, str]] = []
    starts = [(body_start, 0, ""), *headings]
    for place, (start, level, title) in enumerate(starts):
        end = starts[place + 1][0] if place + 1 < len(starts) else len(lines)
        if level:
            above = [one for one in above if one[0] < level] + [(level, title)]
        heading = " > ".join(one for _, one in above if one) or None
        pieces = _pieces(lines, start, end, heading, breaks)
        for piece in pieces:
            tiny = _words(lines, piece) < WORDS_MIN
            if tiny and sections and sections[-1].end == piece.start and _fits(lines, sections[-1], piece):
                sections[-1].end = piece.end
            else:
                sections.append(piece)
    return sections


def _pieces(lines: list[str], start: int, end: int, heading: str | None, breaks: set[int]) -> list[Section]:
    """Cut a section where a block begins, so that no piece has many more words than WORDS_MAX, if blocks allow it."""
    pieces: list[Section] = []
    begin, count = start, 0
    for block, block_end in _blocks(start, end, breaks):
        words = sum(len(line.split()) for line in lines[block:block_end])
        if count and count + words > WORDS_MAX:
            pieces.append(Section(begin, block, heading))
            begin, count = block, 0
        count += words
    pieces.append(Section(begin, end, heading))
    return [piece for piece in pieces if _words(lines, piece)]


def _blocks(start: int, end: int, breaks: set[int]) -> Iterator[tuple[int, int]]:
    inside = sorted({start, *(line for line in breaks if start < line < end)})
    yield from zip(inside, [*inside[1:], end], strict=True)


def _words(lines: list[str], section: Section) -> int:
    return sum(len(line.split()) for line in lines[section.start : section.end])


def _fits(lines: list[str], first: Section, second: Section) -> bool:
    return _words(lines, first) + _words(lines, second) <= WORDS_MAX


def _front_matter_lines(lines: list[str]) -> int:
    """Return how many lines a front matter block takes, with its fences; 0 if there is none."""
    if lines[0].strip() != "---":
        return 0
    for number, line in enumerate(lines[1:], 2):
        if line.strip() in ("---", "..."):
            return number
        if line.strip() and not _FRONT_MATTER_LINE.match(line):
            return 0  # a rule at the top of a page, and no front matter
    return 0


def _offsets(lines: list[str]) -> tuple[list[int], list[int]]:
    """Return how many characters and words stand before each line."""
    characters, words = [0], [0]
    for line in lines:
        characters.append(characters[-1] + len(line) + 1)
        words.append(words[-1] + len(line.split()))
    return characters, words
