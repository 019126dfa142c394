"""A machine that has less: a lower grade, said and stood behind, or a refusal in exact words; no silence."""

import shutil
import subprocess

import pytest

from dashd.client_blocking import CallFailed
from dashd.jail import landlock, probe
from tests.fakes import dashd_of_less
from tests.jail import inside
from tests.tidy import TOP
from tests.whole.daemons import DaemonProcess
from tests.workspace.world import World

pytestmark = pytest.mark.slow
END_S_MAX = 60.0
SCRIPT = "cat docs/a; echo no > docs/a 2>/dev/null || echo refused; cat ../secret 2>/dev/null || echo hidden"
NO_BWRAP = ("bubblewrap is not installed", probe.INSTALL)
NO_USERNS = (
    "bubblewrap could not build a jail: bwrap: Creating new namespace failed: nesting depth or"
    " /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
    probe.ALLOW,
)


@pytest.fixture
def start(tmp_path):
    """`start(WHAT, GRADE)`: a dashd that has less, whose agents need that grade."""
    inside.of_grade("B")
    started = []

    def begin(what: str, grade_min: str) -> DaemonProcess:
        if what in dashd_of_less.TAKEN and (why := _why_not()):
            pytest.skip(why)
        folder = tmp_path / f"dash{len(started)}"
        folder.mkdir()
        environ = {"DASH_JAIL_REQUIRED": "true", "DASH_JAIL_GRADE_MIN": grade_min, "PYTHONPATH": str(TOP)}
        made = DaemonProcess(folder, dashd_of_less.argv(what), **environ)
        started.append(made)
        made.start()
        return made

    yield begin
    for each in started:
        each.end()


def _why_not() -> str:
    """Why this user cannot have namespaces of its own to take something away in; empty where it can."""
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return "util-linux is not installed"
    argv = [*dashd_of_less.OWN, "--mount", "--", "sh", "-c", "mount --bind /dev/null /dev/null"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"no namespaces of one's own: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    for name in ("src", "docs"):
        (folder / name).mkdir(parents=True)
    (folder / "docs" / "a").write_text("from docs\n")
    (tmp_path / "secret").write_text("s3cret")
    return folder


def refusal(dashd: DaemonProcess, work) -> tuple[str, str]:
    """(message, hint) of what `swarm.create` says; nothing was made."""
    with pytest.raises(CallFailed) as refused:
        dashd.call("swarm.create", task="t", argv=["true"], cwd=str(work))
    assert dashd.call("swarm.list")["total"] == 0
    return refused.value.args[0], refused.value.hint


def stands(dashd: DaemonProcess, work) -> dict:
    """Runs an agent that reaches for what it may and what it may not; what is shown of its walls."""
    made = dashd.call("swarm.create", task="t", argv=["sh", "-c", SCRIPT], cwd=str(work), scope=["src"])
    report = ended(dashd, made)
    assert report["results"][0]["result"].split("\n")[:3] == ["from docs", "refused", "hidden"]
    assert (work / "docs" / "a").read_text() == "from docs\n"
    return dashd.call("agent.get", agent=f"{made['id']}-001")


def ended(dashd: DaemonProcess, made: dict) -> dict:
    """The report of a swarm that succeeds."""
    kinds = ["swarm.completed", "swarm.failed"]
    waited = dashd.call("event.wait", since=0, swarm=made["id"], kinds=kinds, timeout_s=END_S_MAX / 2)
    assert not waited["timed_out"], dashd.log()
    report = dashd.call("swarm.report", swarm=made["id"], detail="full")
    assert not report["failures"], report["failures"]
    return report


@pytest.mark.parametrize(("what", "said"), [("no-bwrap", NO_BWRAP), ("no-userns", NO_USERNS)])
def test_without_namespaces_agents_are_refused_or_stand_behind_landlock(start, work, what, said):
    why, fix = said
    message, hint = refusal(start(what, "B"), work)
    assert message == f"agents need walls of grade B, and this machine gives C: {why}"
    assert hint.startswith(fix)
    assert stands(start(what, "C"), work)["grade"] == "C"


def test_no_landlock_is_refused_whatever_the_grade(start, work):
    message, hint = refusal(start("landlock-0", "C"), work)
    assert message == "agents need walls of grade C, and this machine gives 0: the kernel has no Landlock"
    assert hint.startswith(probe.ENABLE)


@pytest.mark.parametrize("version", [1, 3])
def test_an_older_landlock_stands_inside_namespaces(start, work, version):
    assert version < landlock.abi()
    assert stands(start(f"landlock-{version}", "B"), work)["grade"] in ("A", "B")


def test_work_on_a_repository_comes_back_without_namespaces(start, tmp_path):
    """git too goes behind Landlock then: what a repository would have executed is not."""
    world = World(tmp_path.resolve())
    world.make_repo()
    world.git("config", "core.fsmonitor", str(world.hostile_script()))
    dashd = start("no-userns", "C")
    script = "echo hi > x; git add x; git commit -qm mine"
    made = dashd.call("swarm.create", task="t", argv=["sh", "-c", script], repo=str(world.repo))
    assert any("walls of grade C" in note for note in made["notes"])
    report = ended(dashd, made)
    (files,) = report["files"]
    assert world.git("-c", "core.fsmonitor=", "show", f"{files['branch']}:x") == "hi"
    gates = [["sh", "-c", "git log --format=%s | grep mine && grep hi x"]]
    dashd.call("merge.enqueue", swarm=made["id"], gates=gates)
    kinds = ["merge.merged", "merge.failed", "merge.conflict"]
    waited = dashd.call("event.wait", since=0, swarm=made["id"], kinds=kinds, timeout_s=END_S_MAX / 2)
    assert [event["kind"] for event in waited["events"]] == ["merge.merged"]
    assert not world.canary.exists()
