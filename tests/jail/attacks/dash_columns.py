"""Dash's own jail as a column: `dashd.jail.launch` plans it, `agent_jail` opens it, nothing of it is changed.

Its names for layers are those of the small launchers where it has the same one.
"""

import os
from collections.abc import Sequence

from dashd.jail import agent_jail, landlock, launch, view
from tests.jail.attacks.columns import BWRAP, PYTHON, Command, Launch, check

THEIRS = {
    **{f"unshare_{name}": f"unshare-{name}" for name in ("net", "pid", "ipc", "uts", "cgroup")},
    **{name: name.replace("_", "-") for name in ("disable_userns", "new_session", "die_with_parent")},
    **{name: name for name in ("landlock", "seccomp", "close_range", "rlimits", "no_new_privs")},
    "sized_tmpfs": "tmpfs-size",
    "clear_environment": "clearenv",
    "read_only_root": "remount-ro",
}
OF_BWRAP = frozenset(THEIRS) - {
    "landlock",
    "seccomp",
    "close_range",
    "rlimits",
    "no_new_privs",
    "clear_environment",
}


class DashColumn:
    """Grade B or C of Dash's own."""

    def __init__(self, grade: launch.Grade) -> None:
        self.grade, self.name = grade, {"B": "dash-both", "C": "dash-stage"}[grade]
        self.layers = frozenset(THEIRS) if grade == "B" else frozenset(THEIRS) - OF_BWRAP

    def command(self, order: Launch, argv: Sequence[str], without: frozenset[str] = frozenset()) -> Command:
        check(self, without)
        own = self.grade == "B"
        walls = launch.Walls(self.grade, BWRAP if own else "", landlock.abi())
        planned = launch.plan(
            walls,
            seen(order),
            python=PYTHON,
            outside=launch.Outside((str(order.scope.parent / "outside/secret"),)),
            listener=False,
            scratch=str(order.private_tmp),
            port=order.port,
            without=frozenset(THEIRS[name] for name in without),
        )
        jail = agent_jail.AgentJail(planned)
        home = view.HOME if own else str(order.private_tmp)
        env = {"PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": "/tmp" if own else home, "LANG": "C.UTF-8"}
        jail.prepare(argv, [argv[0]], {**env, "GIT_CONFIG_NOSYSTEM": "1"})
        control = os.memfd_create("control")
        os.pwrite(control, b"readygo", 0)  # it says the one over the one, and then reads the other
        # The holder starts it with no environment but the launch id.
        emptied = [] if "clear_environment" in without else ["/usr/bin/env", "-i"]
        return Command([*emptied, *jail.command(control)], (*jail.fds, control), jail._policy, jail.enter)


def seen(order: Launch) -> view.View:
    """The same launch in Dash's words."""
    limits = order.limits
    bounds = view.Bounds(
        memory_bytes=limits.memory,
        processes=limits.processes,
        open_files=limits.files,
        file_bytes=limits.file_bytes,
        disk_bytes=limits.disk_bytes,
        tmp_bytes=limits.tmp_bytes,
    )
    scope = str(order.scope)
    parts = (view.Folder(scope, str(path.relative_to(scope))) for path in order.read_only_parts)
    read = (*(view.Folder(str(path)) for path in order.read), *parts)
    return view.View(scope, (view.Folder(scope),), read, bounds)


DASH_COLUMNS = {column.name: column for column in (DashColumn("B"), DashColumn("C"))}
