"""Where launches are tried: a folder, a scope in it and, started as root, a user id that nobody else has.

As root everything then runs as a stranger to the rest of the machine, and no account is needed. Started as
anybody else it runs as that user.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.jail.attacks.columns import LIMITS, Column, Launch, Limits

HERE = Path(__file__).parent
SECOND_LIMIT_S = 60
ROOM_FOR_OTHERS = 64  # less than the fork bomb takes beyond its limit
# Unused: above what systemd, containers and sub-uid ranges hand out, below what bwrap takes for negative.
FIRST_UID = 1_500_000_000
_numbers = itertools.count(FIRST_UID + os.getpid() % 100_000 * 1000)


class Ground:
    """Use as a context manager. Below /var/tmp, because /tmp is what a jail has of its own."""

    port = 0

    def __init__(self) -> None:
        self.uid = next(_numbers) if os.geteuid() == 0 else None
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as made:
            self.base = Path(tempfile.mkdtemp(prefix="dash-attack-", dir="/var/tmp"))
            made.callback(shutil.rmtree, self.base, ignore_errors=True)
            self.base.chmod(0o755)
            self.scope, self.home, self.private_tmp = (self.base / name for name in ("scope", "home", "tmp"))
            for folder in (self.scope, self.home, self.private_tmp):
                folder.mkdir()
            self.code = Path(shutil.copytree(HERE, self.base / "code", ignore=lambda *_: ["__pycache__"]))
            self.prepare(made)
            self.give(self.base)
            made.callback(self.end_strangers)
            self.begin(made)
            self.stack = made.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def prepare(self, made: contextlib.ExitStack) -> None:
        """For more files."""

    def begin(self, made: contextlib.ExitStack) -> None:
        """For processes."""

    def launch(self, limits: Limits = LIMITS, scope: Path | None = None) -> Launch:
        launch = Launch(scope or self.scope, (self.code,), port=self.port, limits=limits)
        own = {"host_home": self.home, "private_tmp": self.private_tmp, "tasks_before": self.count_tasks()}
        return launch._replace(**own)

    @contextlib.contextmanager
    def started(
        self, column: Column, launch: Launch, argv: Sequence[str], without: frozenset[str] = frozenset()
    ) -> Iterator[subprocess.Popen]:
        """The process of a launch, with pipes; it does not outlive the block."""
        command = column.command(launch, argv, without)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {"PATH": os.defpath, "HOME": str(self.home)}
        try:
            process = self.popen(
                command.argv,
                pass_fds=command.fds,
                cwd=launch.scope,
                env=environment,
                preexec_fn=command.enter,
                **pipes,
            )
        finally:
            for fd in command.fds:
                os.close(fd)
        with process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, column: Column, launch: Launch, argv: Sequence[str]) -> tuple[int, str, str]:
        """Status, output and errors."""
        with self.started(column, launch, argv) as process:
            output, errors = process.communicate(timeout=SECOND_LIMIT_S)
            return process.returncode, output.decode(), errors.decode()

    def give(self, *paths: Path) -> None:
        """To the user that attacks: victims are of the same user, or there would be nothing to keep apart."""
        if self.uid is None:
            return
        for top in paths:
            for path in (top, *top.rglob("*")):
                os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def popen(self, argv: list[str], **options) -> subprocess.Popen:
        if self.uid is not None:
            options |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        return subprocess.Popen(argv, **options)

    def count_tasks(self) -> int:
        """All of the user's: a limit without a user namespace counts them as well.

        Where the user is one of many uses, with room for what those start meanwhile.
        """
        own, count = (os.geteuid(), ROOM_FOR_OTHERS) if self.uid is None else (self.uid, 0)
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and entry.stat().st_uid == own:
                    count += len(os.listdir(entry / "task"))
        return count

    def end_strangers(self) -> None:
        """Whatever else runs under the scene's own user id."""
        for entry in Path("/proc").iterdir() if self.uid is not None else ():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and entry.stat().st_uid == self.uid:
                    os.kill(int(entry.name), signal.SIGKILL)
