"""Puts pinned programs in their place: fetched by npm, checked against the pinned digests, unpacked, renamed.

    python -m dashd.drivers.program_install FOLDER NAME...

dashd runs this as a process of its own, with a deadline: whatever becomes of it, a folder is there whole or
not at all. npm's own settings decide where packages come from; nothing is resolved, no script of a package
is run, and nothing is installed globally. Progress goes to stdout, one JSON object a line; a failure is the
last of them and says what to do.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dashd.wire import safe

from .program_record import digest, packages
from .programs import RECORD, UNFINISHED, Package, Program, pinned

FETCH_S_MAX = 600.0
BATCH_MAX = 40
"""Packages that one npm fetches."""
FETCHERS = 4
"""How many npm work at once."""
WORDS_CHARACTERS_MAX = 600
NOT_FETCHED = 3
"""The exit code where the network, or npm, is what is missing."""
PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"}
    | {f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "NO", "ALL")}
)
"""What npm gets of the environment, in either case, and all of npm's own settings; nothing else."""

Say = Callable[[str], None]


class InstallFailed(Exception):
    """What went wrong, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class NotFetched(InstallFailed):
    """No npm, or nothing that answers it: of what the archives hold nothing is said."""


def main(folder: Path, names: list[str]) -> int:
    """Installs what is not there yet; the exit code, one of its own where something could not be had."""
    try:
        for name in names:
            install(folder, pinned()[name], lambda text: _tell(progress=text))
    except InstallFailed as failed:
        _tell(error=str(failed), hint=failed.hint)
        return NOT_FETCHED if isinstance(failed, NotFetched) else 1
    _tell(done=True)
    return 0


def install(folder: Path, program: Program, say: Say, environ: Mapping[str, str] = os.environ) -> Path:
    """The program's folder, made if need be; raises InstallFailed. Whoever comes second waits."""
    place = folder / program.folder
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _alone(folder):
            if not (place / RECORD).is_file():
                sweep(folder)
                _make(folder, place, program, say, environ)
    except OSError as error:
        raise InstallFailed(
            f"{error.strerror}: {error.filename or folder}", "mend that, then install again"
        ) from None
    return place


def sweep(folder: Path) -> None:
    """Removes what interrupted installations have left; nobody else may be installing here."""
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _make(folder: Path, place: Path, program: Program, say: Say, environ: Mapping[str, str]) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    try:
        made = fresh / "made"
        for package, archive in _fetched(program, fresh, say, environ):
            _check(package, archive)
            _unpack(archive, made / "node_modules" / (package.place or package.name))
        if not (made / program.entry).is_file():
            raise InstallFailed(
                f"{program.name} {program.version} has no {program.entry}", "tell the authors"
            )
        if program.left_out:
            (made / program.left_out).unlink()
        say(f"{program.name}: noting what is there")
        record = {"version": program.version, "packages": packages(program), "digest": digest(made)}
        (made / RECORD).write_text(json.dumps(record))
        made.chmod(0o755)
        if place.exists():  # without a record it is nobody's
            shutil.rmtree(place)
        os.sync()  # a power cut must not leave a record of files that are not there, and they may be many
        made.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fetched(
    program: Program, folder: Path, say: Say, environ: Mapping[str, str]
) -> Iterator[tuple[Package, Path]]:
    """Each package and its archive, batch by batch: npm is as slow to start as to fetch."""
    of_spec: dict[str, list[Package]] = {}
    for package in program.packages:
        of_spec.setdefault(f"{package.name}@{package.version}", []).append(package)
    specs = list(of_spec)
    batches = [specs[at : at + BATCH_MAX] for at in range(0, len(specs), BATCH_MAX)]
    with ThreadPoolExecutor(FETCHERS) as fetchers:
        done = 0
        fetching = fetchers.map(lambda batch: _fetch(batch, folder, environ), batches)
        say(f"{program.name}: fetching {_named(specs)}")
        for batch, archives in zip(batches, fetching, strict=True):
            for spec in batch:
                yield from ((package, archives[spec]) for package in of_spec[spec])
                archives[spec].unlink()
            done += len(batch)
            say(f"{program.name}: unpacked {done} of {len(specs)}")


def _named(specs: list[str]) -> str:
    return specs[0] if len(specs) == 1 else f"{len(specs)} packages"


def _fetch(specs: list[str], folder: Path, environ: Mapping[str, str]) -> dict[str, Path]:
    """The archives of some packages, by what was asked for; they are in a folder of their own."""
    npm = shutil.which("npm", path=environ.get("PATH"))
    if npm is None:
        raise NotFetched(
            "there is no npm on dashd's PATH, which fetches programs",
            "install Node.js with npm, or name what you have in the section programs of the configuration",
        )
    passed = {
        name: value
        for name, value in environ.items()
        if name.upper() in PASSED_ON or name.lower().startswith("npm_config_")
    }
    own = {"npm_config_cache": str(folder / "cache"), "npm_config_update_notifier": "false"}
    place = Path(tempfile.mkdtemp(dir=folder))
    argv = [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(place), *specs]
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env={**passed, **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=FETCH_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotFetched(
            f"fetching {_named(specs)} took longer than {FETCH_S_MAX:g} s",
            "look at the network, then install again",
        ) from None
    archives = {} if done.returncode else _packed(done.stdout, place)
    if missing := [spec for spec in specs if spec not in archives]:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-WORDS_CHARACTERS_MAX:]
        raise NotFetched(
            f"npm could not fetch {_named(missing)}: {said or f'exit code {done.returncode}'}",
            f"see whether `npm view {missing[0]} version` answers; npm's own settings say where it looks",
        )
    return archives


def _packed(said: bytes, place: Path) -> dict[str, Path]:
    """What npm says that it has fetched, as far as it is there."""
    try:
        rows = json.loads(said)
        found = {f"{row['name']}@{row['version']}": place / Path(row["filename"]).name for row in rows}
    except (ValueError, KeyError, TypeError):
        return {}
    return {spec: path for spec, path in found.items() if path.is_file()}


def _check(package: Package, archive: Path) -> None:
    with archive.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if f"sha512-{found}" != package.integrity:
        raise InstallFailed(
            f"{package.name} {package.version} is not what Dash was tested with: sha512-{found}",
            "nothing was installed; look at where npm gets its packages from",
        )


def _unpack(archive: Path, place: Path) -> None:
    """Below its first folder, which every archive calls as it likes; links and devices are refused."""
    place.mkdir(parents=True, exist_ok=True)  # one of its own packages may have been there before it
    with tarfile.open(archive, "r:gz") as packed:
        for member in packed:
            _, _, name = member.name.partition("/")
            if not name or member.isdir():
                continue
            target = Path(os.path.normpath(place / name))
            source = packed.extractfile(member) if member.isfile() else None
            if source is None or not target.is_relative_to(place):
                raise InstallFailed(
                    f"{archive.name} holds {member.name!r}, which is no plain file", "tell the authors"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:  # one that comes twice is as it came last, as with any tar
                shutil.copyfileobj(source, file)
            target.chmod(0o755 if member.mode & 0o111 else 0o644)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The lock of the folder itself, which ends with whoever has it."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _tell(**line: Any) -> None:  # noqa: ANN401
    sys.stdout.write(safe.as_json(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
