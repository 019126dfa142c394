"""The way back from a salvage: the folder that was saved, byte for byte, with names, modes and links.

git only hands out objects here; it never writes files, so that no attribute or filter has a say.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dashd import threads
from dashd.workspace import git, names
from dashd.workspace.errors import GitFailed
from dashd.workspace.source import Source

BATCH_BYTES_MAX = 32 << 20


class _Entry(NamedTuple):
    mode: bytes
    id: str
    size: int
    path: bytes


async def restore(source: Source, commit: str, into: Path) -> list[dict[str, object]]:
    """Makes the folder `into` what was salvaged as `commit`; returns the manifest's lines.

    `into` must not be there. Raises FileExistsError and GitFailed.
    """
    listed = await git.lines(source.reading, "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit)
    entries = [_entry(line) for line in listed]
    manifest = await _manifest(source, commit, entries)
    _make_folders(into, entries, manifest)
    files = [entry for entry in entries if entry.mode.startswith(b"100") and entry.path != names.MANIFEST]
    links = [entry for entry in entries if entry.mode == b"120000"]
    for batch in (*_batches(files), *_batches(links)):  # links last: nothing is written through one
        contents = await _contents(source, batch)
        await threads.run(_write, into, batch, contents)
    _set_modes(into, entries, manifest)
    return manifest


def _entry(line: bytes) -> _Entry:
    about, _, path = line.partition(b"\t")
    mode, _, id_, size = about.split()
    if size == b"BAD":
        raise GitFailed(f"The object {id_.decode()} is missing or damaged.")
    return _Entry(mode, id_.decode(), 0 if size == b"-" else int(size), path)


async def _manifest(source: Source, commit: str, entries: list[_Entry]) -> list[dict[str, object]]:
    kept = [entry for entry in entries if entry.path == names.MANIFEST]
    if not kept:
        raise GitFailed(f"{commit} is not a salvage: it has no {names.MANIFEST.decode()}.")
    (content,) = await _contents(source, kept)
    return [json.loads(line) for line in content.splitlines()]


def _batches(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    """Groups small enough to be held in memory; a larger file is one of its own."""
    batch: list[_Entry] = []
    total = 0
    for entry in entries:
        if batch and total + entry.size > BATCH_BYTES_MAX:
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += entry.size
    if batch:
        yield batch


async def _contents(source: Source, batch: list[_Entry]) -> list[bytes]:
    """The content of each object, in order."""
    asked = b"".join(entry.id.encode() + b"\n" for entry in batch)
    room = sum(entry.size + len(entry.id) + 32 for entry in batch)
    finished = await git.run(source.reading, "cat-file", "--batch", stdin=asked, output_bytes_max=room)
    contents, at = [], 0
    for entry in batch:
        start = finished.stdout.index(b"\n", at) + 1
        if finished.stdout[at:start] != f"{entry.id} blob {entry.size}\n".encode():
            raise GitFailed(f"The object {entry.id} is missing or damaged.")
        at = start + entry.size + 1
        contents.append(finished.stdout[start : at - 1])
    return contents


def _target(into: Path, path: bytes) -> bytes:
    """Where an entry of the tree belongs; a path that would lead out of `into` is refused."""
    parts = [names.decode(part) for part in path.split(b"/")]
    if any(part in (b"", b".", b"..") or b"/" in part for part in parts):
        raise GitFailed(f"{path!r} is no path of a salvage.")
    return b"/".join((os.fsencode(into), *parts))


def _noted(into: Path, note: dict[str, object]) -> bytes | None:
    """Where the entry of a line of the manifest lies; None for a line about something else."""
    path = note.get("folder", note.get("file"))
    if path is None:
        return None
    target = os.fsencode(str(path))
    if any(part in (b"", b".", b"..") for part in target.split(b"/")):
        raise GitFailed(f"{target!r} is no path of a salvage.")
    return os.fsencode(into) + b"/" + target


def _make_folders(into: Path, entries: list[_Entry], manifest: list[dict[str, object]]) -> None:
    into.mkdir(mode=0o700)
    for entry in entries:
        if entry.mode == b"040000":
            os.mkdir(_target(into, entry.path), 0o700)
    for note in manifest:
        if note.get("empty") and (target := _noted(into, note)):
            os.makedirs(target, 0o700, exist_ok=True)


def _write(into: Path, batch: list[_Entry], contents: list[bytes]) -> None:
    for entry, content in zip(batch, contents, strict=True):
        target = _target(into, entry.path)
        if entry.mode == b"120000":
            os.symlink(content, target)
            continue
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)


def _set_modes(into: Path, entries: list[_Entry], manifest: list[dict[str, object]]) -> None:
    """Gives everything its rights, what lies deeper first."""
    usual = {b"100644": 0o644, b"100755": 0o755, b"040000": 0o755}
    modes = {
        _target(into, entry.path): usual[entry.mode]
        for entry in entries
        if entry.mode in usual and entry.path != names.MANIFEST
    }
    for note in manifest:
        if target := _noted(into, note):
            modes[target] = int(str(note["mode"]), 8)
    for target in sorted(modes, reverse=True):
        os.chmod(target, modes[target])
