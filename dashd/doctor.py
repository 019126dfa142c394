"""`dashd doctor`: what dashd needs on this machine, and how to mend what is missing. Works with no daemon."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from dashd import open_files
from dashd.config import Config
from dashd.jail import launch, probe
from dashd.store import database
from dashd.wire import errors, paths, safe, tenant

FREE_BYTES_MIN = 200 << 20
FILES_MIN = 1_024


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


class Here(Protocol):
    """An agent program that is on this machine."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    @property
    def path(self) -> str:
        """What is run."""

    @property
    def origin(self) -> str:
        """How Dash came by it."""


def run(config: Config, programs: Sequence[Here], *, as_json: bool) -> int:
    """Prints the findings; 1 where something fails."""
    findings = [*(check(config) for check in _CHECKS), _agent_programs(programs)]
    if as_json:
        here = [{"name": each.name, "path": each.path} for each in programs]
        shown = {"findings": [asdict(each) for each in findings], "programs": here}
        sys.stdout.write(safe.as_json(shown) + "\n")
    else:
        for each in findings:
            fix = f"\n       fix: {each.fix}" if each.fix else ""
            sys.stdout.write(safe.block(f"{each.state:4}  {each.name}: {each.text}{fix}") + "\n")
    return 1 if any(each.state == "fail" for each in findings) else 0


def _versions(_config: Config) -> Finding:
    system = f"{platform.system()} {platform.release()}"
    return Finding("versions", "ok", f"Python {platform.python_version()}, {database.version()}, {system}")


def _state_dir(config: Config) -> Finding:
    folder = config.daemon.state_dir
    nearest = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(
            "state folder", "fail", f"{nearest} cannot be written", "set DASH_STATE_DIR to a folder of yours"
        )
    if nearest == folder and (fault := tenant.unsafe(str(folder))):
        return Finding("state folder", "fail", *fault)
    free = shutil.disk_usage(nearest).free
    if free < FREE_BYTES_MIN:
        return Finding(
            "state folder", "warn", f"{folder}: {free >> 20} MiB left on its disk", "free some space"
        )
    return Finding("state folder", "ok", f"{folder}, {free >> 30} GiB free")


def _socket(config: Config) -> Finding:
    path = config.daemon.socket
    if fault := paths.too_long(str(path)):
        return Finding("socket", "fail", *fault)
    if (found := tenant.find(str(config.daemon.state_dir))) and not _serves(found, path):
        return _elsewhere(found, path)
    if not os.path.exists(path):
        return Finding("socket", "warn", f"{path}: no daemon has made it", "dashctl up")
    if tenant.is_locked(str(path.parent / "lock")):
        return Finding("socket", "ok", f"{path}: a daemon serves it")
    return Finding(
        "socket", "warn", f"{path} is left over from a daemon that has ended", "dashctl up replaces it"
    )


def _serves(found: tenant.Tenant, path: Path) -> bool:
    return found.socket in ("", str(path)) and os.path.exists(path)


def _elsewhere(found: tenant.Tenant, path: Path) -> Finding:
    """A daemon works in the state folder, but not behind the socket where clients look first."""
    who = f"dashd (pid {found.pid or 'unknown'})"
    if not os.path.exists(found.socket):
        gone = found.socket or path
        return Finding("socket", "fail", f"{who} runs, but its socket {gone} is gone", "dashctl restart")
    return Finding(
        "socket",
        "warn",
        f"{who} serves {found.socket}, and this environment names {path}",
        f"export DASH_SOCKET={found.socket}, or dashctl restart to move it here",
    )


def _database(config: Config) -> Finding:
    path = config.daemon.database
    if not os.path.exists(path):
        return Finding("database", "ok", f"{path} will be made at the first start")
    try:
        found = database.check_file(path)
    except errors.DashError as error:
        return Finding("database", "fail", f"{path}: {error.message}", "restore the newest backup beside it")
    if found:
        return Finding("database", "fail", f"{path}: {found[0]}", "restore the newest backup beside it")
    return Finding("database", "ok", f"{path}, {path.stat().st_size >> 10} KiB, quick_check ok")


def _open_files(_config: Config) -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    usable = open_files.usable(soft, hard)
    if usable != resource.RLIM_INFINITY and usable < FILES_MIN:
        return Finding("open files", "warn", f"limit {usable} (hard {hard})", f"ulimit -Hn {FILES_MIN}")
    return Finding("open files", "ok", f"limit {usable}")


def _walls(config: Config) -> Finding:
    """Tried for real, as an agent's start would be."""
    least = config.jail.grade_min
    if not config.jail.required:
        return Finding("walls", "warn", "not required: agents have all your rights", "unset jail.required")
    found = probe.probe(probe.find_bwrap())
    enough = launch.WORSE_THAN[found.grade] <= launch.WORSE_THAN[least]
    text = f"grade {found.grade}" + (f": {found.why}" if found.why else "")
    if not enough:
        return Finding("walls", "fail", f"{text}; agents need grade {least}", found.fix)
    weak = launch.WORSE_THAN[found.grade] > launch.WORSE_THAN["B"] or not found.nesting
    return Finding("walls", "warn" if weak else "ok", text, found.fix if weak else "")


def _agent_programs(programs: Sequence[Here]) -> Finding:
    """None is needed: Dash has an agent of its own."""
    named = ", ".join(f"{each.name} ({each.origin})" for each in programs)
    return Finding("agent programs", "ok", named or "none but Dash's own agent; dashctl program install pi")


def _configuration(config: Config) -> Finding:
    if config.warnings:
        return Finding("configuration", "warn", "; ".join(config.warnings), "unset them")
    changed = ", ".join(f"{key} ({origin})" for key, origin in sorted(config.origins.items()))
    return Finding("configuration", "ok", changed or "all defaults")


_CHECKS: tuple[Callable[[Config], Finding], ...] = (
    _versions,
    _configuration,
    _state_dir,
    _socket,
    _database,
    _open_files,
    _walls,
)
