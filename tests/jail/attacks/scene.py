"""One attack on one launcher: the victims, the launch, and what is true afterwards, seen from outside."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import uuid
from pathlib import Path
from typing import NamedTuple

from tests.jail.attacks.columns import BWRAP, LIMITS, PYTHON, Column, Command, Launch, Limits
from tests.jail.attacks.ground import SECOND_LIMIT_S, Ground

TUNED = ("prlimit_daemon", "renice_daemon", "affinity_daemon", "scheduler_daemon", "oom_score_adj")
KILLED = ("signal_sibling", "signal_pidfd", "signal_by_owner")
# Attacks on a file outside that bear its name, and what they are there to change.
ON_A_FILE = (
    *("write_outside", "unlink_outside", "symlink_write", "hardlink_in", "hardlink_existing", "rename_in"),
    *("truncate_outside", "chmod_outside", "utimes_outside", "setxattr_outside", "leaked_fd"),
)
MAKES_A_FILE = ("create_outside", "mkdir_outside", "rename_out")


class Result(NamedTuple):
    """`works`: yes, no, or own: it succeeded, and reached nothing but its own network."""

    works: str
    detail: str


class Scene(Ground):
    """`attack` once."""

    def prepare(self, made: contextlib.ExitStack) -> None:
        base, self.token = self.base, "canary-" + uuid.uuid4().hex[:16]
        self.outside = base / "outside"
        for folder in (self.outside, base / "sibling"):
            folder.mkdir()
        (self.scope / ".git/hooks").mkdir(parents=True)
        (self.scope / ".git/config").write_text("[core]\n\tbare = false\n")
        (self.scope / "notes").write_text("the scope of this agent\n")
        (base / "sibling/notes").write_text(f"{self.token}-notes\n")
        (self.home / ".bashrc").write_text("alias ll='ls -l'\n")
        (self.outside / "secret").write_text(f"{self.token}-secret\n")
        for name in ON_A_FILE:
            (self.outside / name).write_text(f"{self.token}-{name}\n")
        os.link(self.outside / "hardlink_existing", self.scope / "hardlink_existing")
        self.tmp_file, self.shm_file = (Path(at) / base.name for at in ("/tmp", "/dev/shm"))
        for path in (self.tmp_file, self.shm_file):
            made.callback(path.unlink, missing_ok=True)
            path.write_text(f"{self.token}-{path.parent.name}\n")
        self.give(self.tmp_file, self.shm_file)

    def begin(self, made: contextlib.ExitStack) -> None:
        self.queue, self.key = "/" + self.base.name, self.base.name
        self.sleepers = {name: self.start_sleeper(made) for name in (*KILLED, "tuned")}
        self.before = self.tuning()
        offer = {"outside": str(self.outside), "queue": self.queue, "key": self.key, "folder": str(self.base)}
        offer["secret"] = str(self.outside / "secret")
        self.sibling = self.start_victim(made, "sibling", offer)
        self.daemon = self.start_victim(made, "daemon", offer)
        self.addresses = {
            **json.loads(self.sibling.stdout.readline()),
            **json.loads(self.daemon.stdout.readline()),
        }
        self.port = self.addresses["sockets"]["allowed"][1]
        self.traces = self.look_at_files()

    def start_sleeper(self, made: contextlib.ExitStack) -> subprocess.Popen:
        process = self.popen(
            ["/bin/sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={}
        )
        made.callback(process.wait)
        made.callback(process.kill)
        return process

    def start_victim(self, made: contextlib.ExitStack, kind: str, offer: dict[str, str]) -> subprocess.Popen:
        environment = {"ANY_KEY": f"canary-environ-{kind}"}
        argv = [PYTHON, "-I", "-S", str(self.code / "victim.py"), kind, f"{self.token}-{kind}"]
        process = self.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        made.enter_context(process)
        made.callback(process.kill)
        process.stdin.write(json.dumps(offer) + "\n")
        process.stdin.flush()
        return process

    # --- the launch ---

    def launch(self, limits: Limits = LIMITS, scope: Path | None = None) -> Launch:
        return super().launch(limits, scope)._replace(read_only_parts=(self.scope / ".git",))

    def targets(self, limits: Limits, leaked: int) -> dict[str, object]:
        text = {
            name: str(getattr(self, name)) for name in ("scope", "outside", "home", "tmp_file", "shm_file")
        }
        return {
            **text,
            **self.addresses,
            "code": str(self.code),
            "secret": str(self.outside / "secret"),
            "sibling_scope": str(self.base / "sibling"),
            "sibling": self.sibling.pid,
            "sleepers": {name: process.pid for name, process in self.sleepers.items()},
            "queue": self.queue,
            "key": self.key,
            "leaked_inode": os.fstat(leaked).st_ino,
            "host_name": os.uname().nodename,
            "cgroup": Path("/proc/self/cgroup").read_text(),
            "net_namespace": os.stat("/proc/self/ns/net").st_ino,
            "limits": limits._asdict(),
        }

    def attack(
        self, column: Column, without: frozenset[str] = frozenset(), *choice: str, limits: Limits = LIMITS
    ) -> dict[str, Result]:
        """Runs the attacker behind that column's walls; what each attack has come to."""
        with contextlib.ExitStack() as closing:
            leaked = os.open(self.outside / "leaked_fd", os.O_RDWR), os.open(self.base, os.O_PATH)
            for fd in leaked:
                closing.callback(os.close, fd)
            path = self.code / "targets.json"
            path.write_text(json.dumps(self.targets(limits, leaked[0])))
            self.give(path)
            argv = [PYTHON, "-I", "-S", str(self.code / "attacker.py"), str(path), *choice]
            command = column.command(self.launch(limits), argv, without)
            said = self.run(command, closing, leaked)
            return self.judge(said)

    def run(self, command: Command, closing: contextlib.ExitStack, leaked: tuple[int, ...]) -> list[dict]:
        """As a careless daemon would: a terminal as stdin, a secret environment, fds left open."""
        for fd in command.fds:
            closing.callback(os.close, fd)
        master, slave = pty.openpty()
        closing.callback(os.close, master)
        closing.callback(os.close, slave)
        environment = {"PATH": os.defpath, "HOME": str(self.home), "ANTHROPIC_API_KEY": f"{self.token}-env"}
        environment["SSH_AUTH_SOCK"] = self.addresses["sockets"]["unix_ssh_agent"]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pass_fds": (*command.fds, *leaked)}
        options |= {"stdin": slave, "cwd": self.scope, "env": environment, "preexec_fn": command.enter}
        process = self.popen(["setsid", "--ctty", *command.argv], **options)
        with process:
            try:
                output, errors = process.communicate(timeout=SECOND_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if process.returncode:
            raise Refused(process.returncode, errors.decode()[-300:])
        return [json.loads(line) for line in output.splitlines()]

    # --- after ---

    def judge(self, said: list[dict]) -> dict[str, Result]:
        """The attacker's word, unless there is a trace to look for."""
        hit = self.hit()
        results = {}
        for line in said:
            name, works, detail = line["name"], line["works"], line["detail"]
            if name in hit:
                if hit[name] and not works and name != "orphan":
                    raise AssertionError(f"{name} says {detail!r} and was successful")
                works, detail = hit[name], detail if hit[name] == works else f"inside alone: {detail}"
            own = works and detail == "own namespace"
            results[name] = Result("own" if own else "yes" if works else "no", detail)
        return results

    def hit(self) -> dict[str, bool]:
        """What has happened outside, by the name of the attack that does it."""
        reached: set[str] = set()
        for victim in (self.sibling, self.daemon):
            output, _ = victim.communicate(timeout=SECOND_LIMIT_S)
            reached.update(json.loads(output)["reached"])
        files, tuning = self.look_at_files(), self.tuning()
        return {
            **{name: name in reached for name in (*self.addresses["sockets"], "vm_write")},
            **{name: files[name] != self.traces[name] for name in files},
            **{name: tuning[name] != self.before[name] for name in TUNED},
            **{name: self.sleepers[name].poll() == -signal.SIGKILL for name in KILLED},
            "orphan": self.orphan_lives(),
        }

    def tuning(self) -> dict[str, object]:
        pid = self.sleepers["tuned"].pid
        return {
            "prlimit_daemon": Path(f"/proc/{pid}/limits").read_text(),
            "renice_daemon": os.getpriority(os.PRIO_PROCESS, pid),
            "affinity_daemon": os.sched_getaffinity(pid),
            "scheduler_daemon": os.sched_getscheduler(pid),
            "oom_score_adj": Path(f"/proc/{pid}/oom_score_adj").read_text(),
        }

    def look_at_files(self) -> dict[str, object]:
        paths = {name: self.outside / name for name in (*ON_A_FILE, *MAKES_A_FILE)}
        paths |= {"append_bashrc": self.home / ".bashrc", "git_config": self.scope / ".git/config"}
        paths |= {
            "git_hook": self.scope / ".git/hooks/post-checkout",
            "nested_git": self.scope / "vendor/.git/config",
            "write_readable": self.code / "write_readable",
        }
        paths |= {name: self.scope / name for name in ("plant_symlink", "plant_fifo")}
        return {name: look_at(path) for name, path in paths.items()}

    def orphan_lives(self) -> bool:
        """Whether the lock of the orphan is held; who holds it is killed."""
        try:
            fd = os.open(self.scope / "orphan", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        finally:
            os.close(fd)
        if kind == fcntl.F_UNLCK:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True


class Refused(Exception):
    """The launcher did not start the attacker."""


def look_at(path: Path) -> object:
    """All that an attack could change of a file."""
    try:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        marks = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except FileNotFoundError:
        return None
    return content, status.st_mode, status.st_mtime_ns, status.st_nlink, marks


def kill_everything(column: Column, without: frozenset[str] = frozenset()) -> Result:
    """kill(-1, SIGKILL) from behind the walls, in a PID namespace with one victim in front of them."""
    with Ground() as ground, contextlib.ExitStack() as closing:
        # A folder opened here cannot be bound in another mount namespace.
        without |= frozenset({"scope_by_fd"}) & column.layers
        command = column.command(ground.launch(), ["/bin/sh", "-c", "kill -9 -1"], without)
        for fd in command.fds:
            closing.callback(os.close, fd)
        outer = [BWRAP, "--unshare-user", "--unshare-pid", "--as-pid-1", "--die-with-parent"]
        outer += ["--dev-bind", "/", "/", "--proc", "/proc", "--", PYTHON, "-I", "-S"]
        argv = [*outer, str(ground.code / "arena.py"), *command.argv]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with ground.popen(argv, pass_fds=command.fds, preexec_fn=command.enter, **pipes) as process:
            output, errors = process.communicate(timeout=SECOND_LIMIT_S)
    said = output.decode().strip()
    if said not in ("alive", "killed"):
        raise Refused(process.returncode, errors.decode()[-300:])
    return Result(
        "yes" if said == "killed" else "no", f"the victim is {said}: {errors.decode()[-80:].strip()}"
    )


def swap_the_scope(column: Column, without: frozenset[str] = frozenset()) -> Result:
    """The scope becomes a symlink to a folder outside, after the launcher has looked at it."""
    with Ground() as ground, contextlib.ExitStack() as closing:
        (ground.base / "outside").mkdir()
        (ground.base / "outside/secret").write_text("canary-swapped")
        ground.give(ground.base)
        command = column.command(ground.launch(), ["/bin/cat", str(ground.scope / "secret")], without)
        for fd in command.fds:
            closing.callback(os.close, fd)
        ground.scope.rename(ground.base / "moved")
        ground.scope.symlink_to(ground.base / "outside")
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with ground.popen(command.argv, pass_fds=command.fds, preexec_fn=command.enter, **pipes) as process:
            output, errors = process.communicate(timeout=SECOND_LIMIT_S)
    return Result("yes" if b"canary-" in output else "no", errors.decode()[-120:].strip())
