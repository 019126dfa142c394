"""Cgroups to try things with: a tree in a folder that acts as the kernel does, and the machine's own.

Only what Dash relies on is acted out; test_cgroup_tree.py runs the same tests on both, where there is both.
"""

import contextlib
import errno
import os
import signal
from pathlib import Path

import pytest

from dashd.jail import cgroup, cgroup_tree, processes

FILES = {
    "memory": {"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "memory.events": ""},
    "pids": {"pids.max": "max"},
    "cpu": {"cpu.max": "max 100000"},
}
EVENTS = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"


class FakeKernel:
    """A delegated cgroup at `base`, with these controllers, and a /proc/self that says we are in `own`."""

    def __init__(self, folder: Path, controllers: str = "memory pids cpu io") -> None:
        self.mount = folder / "cgroup"
        self.base = self.mount / "user" / "unit"
        self.proc = folder / "proc"
        self.proc.mkdir()
        (self.mount / "user").mkdir(parents=True)
        self.base.mkdir()
        self.fill(self.base, controllers.split())
        mount = f"30 20 0:26 / {self.mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
        (self.proc / "mountinfo").write_text(f"22 20 0:5 / /dev rw - devtmpfs udev rw\n{mount}")
        self.refused: set[str] = set()
        """Names of files that cannot be written."""
        self.put(self.base, os.getpid())

    def put(self, folder: Path, pid: int) -> None:
        for each in self.mount.rglob("cgroup.procs"):
            each.write_text("".join(f"{one}\n" for one in each.read_text().split() if one != str(pid)))
        with (folder / "cgroup.procs").open("a") as file:
            file.write(f"{pid}\n")
        if pid == os.getpid():
            (self.proc / "cgroup").write_text(f"4:memory:/\n0::/{folder.relative_to(self.mount)}\n")

    def fill(self, folder: Path, controllers: list[str]) -> None:
        files = {"cgroup.procs": "", "cgroup.kill": "", "cgroup.subtree_control": ""}
        files["cgroup.controllers"] = " ".join(controllers)
        for name in controllers:
            files |= FILES.get(name, {})
        for name, content in files.items():
            (folder / name).write_text(EVENTS if name == "memory.events" else content)

    # -- what cgroup.py calls ------------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            self.fill(Path(path), Path(path, "..", "cgroup.subtree_control").read_text().split())

    def remove_folder(self, path: str) -> None:
        if self.inside(Path(path)):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        if any(each.is_dir() for each in Path(path).iterdir()):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        for each in Path(path).iterdir():
            each.unlink()
        os.rmdir(path)

    def write(self, path: str, text: str) -> None:
        file = Path(path)
        if file.name in self.refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if file.name == "cgroup.kill":
            for pid in self.inside(file.parent):
                os.kill(pid, signal.SIGKILL)
        elif file.name == "cgroup.procs":
            if (file.parent / "cgroup.subtree_control").read_text():
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            self.put(file.parent, int(text) or os.getpid())
        elif file.name == "cgroup.subtree_control":
            if self.inside(file.parent):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            wanted = [each.removeprefix("+") for each in text.split()]
            if not set(wanted) <= set((file.parent / "cgroup.controllers").read_text().split()):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            file.write_text(" ".join(wanted))
        else:
            file.write_text(f"{text}\n")

    def read(self, path: str) -> str:
        if path.endswith("cgroup.procs"):
            return "".join(f"{pid}\n" for pid in self.inside(Path(path).parent))
        return Path(path).read_text()

    def inside(self, folder: Path) -> list[int]:
        """Who is in a cgroup and has not ended."""
        pids = map(int, (folder / "cgroup.procs").read_text().split())
        return [pid for pid in pids if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return processes.stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def fake_kernel(tmp_path, monkeypatch) -> FakeKernel:
    kernel = FakeKernel(tmp_path)
    for name in ("make_folder", "remove_folder", "write", "read"):
        monkeypatch.setattr(cgroup, name, getattr(kernel, name))
    monkeypatch.setattr(cgroup_tree, "delegated", lambda path: Path(path) == kernel.base)
    return kernel


@pytest.fixture
def real_base() -> str:
    """A delegated cgroup of this machine's, proved, or a skipped test that says what is missing."""
    try:
        return cgroup_tree.prove()
    except cgroup_tree.NoCgroups as error:
        pytest.skip(f"untested here: {error}")


@pytest.fixture
def real_hierarchy() -> str:
    """One in which cgroups can be made, whether or not they can have limits."""
    try:
        cgroup_tree.settle()
        return cgroup_tree.find()
    except cgroup_tree.NoCgroups as error:
        pytest.skip(f"untested here: {error}")
