"""Tools in a jail: fed, read, bounded, and ended with all that they have started."""

import errno
import itertools
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from dashd.jail import cgroup_tree, probe, tool, view
from dashd.jail.launch import Outside, Walls
from dashd.jail.tool import Finished, Tool, ToolFailed, ToolTimeout
from tests.fakes import jails

ENV = {"PATH": "/usr/bin:/bin", "HOME": tool.HOME}


@pytest.fixture(autouse=True)
def _needs_jails(request: pytest.FixtureRequest) -> None:
    if "installed" not in request.node.name:
        jails.needed()


async def run(*argv: str, cwd: Path = Path("/tmp"), **more: object) -> Finished:
    options = {"env": ENV, "read": (), "write": (), "deadline_s": 20.0, "output_bytes_max": 1 << 16, **more}
    return await tool.run(Tool(argv=argv, cwd=cwd, **options))  # type: ignore[arg-type]


def real(path: Path) -> Path:
    return path.resolve()


def alive(marker: str) -> list[str]:
    """Processes on this machine with the marker among their arguments."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words:
            found.append(entry)
    return found


def test_a_machine_with_bwrap_installed_can_use_it():
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap (bwrap) is not installed")
    assert jails.why_not() == ""


async def test_it_is_fed_and_read_and_its_code_told():
    finished = await run(
        "sh", "-c", "cat; echo no >&2; exit 7", stdin=b"x" * 300_000, output_bytes_max=1 << 20
    )
    assert (finished.code, finished.stdout, finished.stderr) == (7, b"x" * 300_000, b"no\n")
    assert not finished.cut


async def test_a_signal_is_a_code():
    assert (await run("sh", "-c", "kill -9 $$")).code == 137


async def test_output_is_bounded_and_the_tool_not_stopped():
    finished = await run("sh", "-c", "head -c 5000000 /dev/zero; echo end >&2", output_bytes_max=1000)
    assert (len(finished.stdout), finished.stderr, finished.cut) == (1000, b"end\n", True)


async def test_a_tool_that_does_not_read_is_no_error():
    assert (await run("true", stdin=b"x" * 3_000_000)).code == 0


async def test_only_the_given_paths_are_there(tmp_path: Path):
    folder = real(tmp_path)
    for name in ("seen", "mine", "hidden"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    script = (
        f"ls {folder}; cat seen/file; echo new > mine/new && echo wrote; echo no > seen/no || echo refused"
    )
    finished = await run("sh", "-c", script, cwd=folder, read=(folder / "seen",), write=(folder / "mine",))
    assert finished.stdout.split() == [b"mine", b"seen", b"seenwrote", b"refused"]
    assert (folder / "mine/new").read_text() == "new\n"
    assert not (folder / "seen/no").exists()


async def test_what_lies_in_a_given_path_may_have_other_rights(tmp_path: Path):
    folder = real(tmp_path)
    (folder / "inner").mkdir()
    script = "echo 1 > inner/file && echo yes; echo 1 > file || echo no"
    finished = await run("sh", "-c", script, cwd=folder, read=(folder,), write=(folder / "inner",))
    assert finished.stdout.split() == [b"yes", b"no"]


async def test_a_link_is_not_followed_to_what_it_names(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ToolFailed, match="a link is in the way"):
        await run("true", read=(real(tmp_path) / "link",))


async def test_the_rest_of_the_machine_is_not_there():
    script = f"ls {tool.HOME} /tmp; env | sort; cat /proc/net/dev | wc -l; ls /proc | grep -c '^[0-9]'"
    script += "; touch /x /usr/x"
    finished = await run("sh", "-c", script)
    lines = finished.stdout.decode().split("\n")
    assert lines[:3] == [f"{tool.HOME}:", "", "/tmp:"]
    assert [line for line in lines if line.startswith(("HOME", "PATH", "PWD"))] == [
        f"HOME={tool.HOME}", "PATH=/usr/bin:/bin", "PWD=/tmp",
    ]  # fmt: skip
    assert lines[-3] == "3", "only the loopback device, which is down"
    assert int(lines[-2]) <= 8, "only its own processes"
    assert finished.code != 0, "the system is read-only"


SEEN = """
import ctypes, resource, socket, sys
status = open("/proc/self/status").read()
print([line.split()[1] for line in status.splitlines() if line.startswith(("NoNewPrivs", "Seccomp:"))])
for path in sys.argv[1:]:
    try: print(open(path).read())
    except OSError as error: print(type(error).__name__)
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
except OSError as error: print(error.errno)
print(ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) > 0)
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NPROC)[0] > 0)
"""


@pytest.mark.parametrize("grade", ["B", "C"])
async def test_a_tool_has_the_walls_of_an_agent(grade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where there is no bubblewrap: what is not given is out of reach, and the calls are filtered."""
    found = await tool._machine.ask()
    monkeypatch.setattr(tool._machine, "_walls", Walls(grade, found.bwrap, found.landlock_abi))  # type: ignore[arg-type]
    folder = real(tmp_path)
    for name in ("mine", "other"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    script = (view.python(), "-I", "-S", "-c", SEEN, f"{folder}/mine/file", f"{folder}/other/file")
    done = await run(*script, cwd=folder / "mine", write=(folder / "mine",))
    status, mine, other, refused, landlock, limits = done.stdout.decode().splitlines()
    assert (status, mine, refused) == ("['1', '2']", "mine", str(errno.EACCES)), done.stderr
    assert other == ("PermissionError" if grade == "C" else "FileNotFoundError")
    assert (landlock, limits) == ("True", "(0, 0) True")


async def test_in_grade_c_home_is_the_tool_s_own_and_goes_with_it(monkeypatch: pytest.MonkeyPatch):
    found = await tool._machine.ask()
    monkeypatch.setattr(tool._machine, "_walls", Walls("C", found.bwrap, found.landlock_abi))
    script = "echo x > $HOME/x && cat $TMPDIR/x && echo $HOME && git init -q $HOME/r && echo y"
    done = await run("sh", "-c", script, env={**ENV, "GIT_CONFIG_NOSYSTEM": "1"})
    said, home, inited = done.stdout.decode().split()
    assert (said, inited) == ("x", "y"), done.stderr
    assert os.path.basename(home) not in os.listdir(os.path.dirname(home))


def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> Path:
    """The cgroup of the tool of that number, the next one: files that act as no kernel."""
    found = replace(tool._machine._walls or Walls("0"), grade="A", cgroups=str(tmp_path))
    monkeypatch.setattr(tool._machine, "_walls", found)
    monkeypatch.setattr(tool, "_numbers", itertools.count(number))
    place = tmp_path / "tools" / f"tool-{os.getpid()}-{number}"
    place.mkdir(parents=True)
    for name in ("cgroup.procs", "cgroup.kill", *cgroup_tree.limits(tool.BOUNDS)):
        (place / name).touch()
    return place


async def test_in_grade_a_it_is_in_a_cgroup_that_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await tool._machine.ask()
    place = placed(tmp_path, monkeypatch, 7001)
    assert (await run("sh", "-c", "exit 3")).code == 3
    written = {path.name: path.read_text() for path in place.iterdir()}
    assert written == {**cgroup_tree.limits(tool.BOUNDS), "cgroup.procs": "0", "cgroup.kill": "1"}


async def test_a_cgroup_that_cannot_be_made_is_a_failed_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await tool._machine.ask()
    place = placed(tmp_path, monkeypatch, 7002)
    for file in place.iterdir():
        file.unlink()
    with pytest.raises(ToolFailed, match="No such file"):
        await run("true")
    assert not place.exists()


async def test_where_nothing_can_be_built_no_tool_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tool._machine, "_walls", None)
    monkeypatch.setattr(probe, "probe", lambda _: Walls("0", why="no walls", fix="get some"))
    with pytest.raises(ToolFailed, match="no program can be jailed here: no walls; get some"):
        await run("true")


async def test_what_must_be_out_of_reach_and_is_not_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = real(tmp_path)
    (folder / "leak").write_text("x")
    monkeypatch.setattr(tool._machine, "outside", Outside((f"{folder}/leak",)))
    with pytest.raises(ToolFailed, match=r"self-test: .*/leak can be read"):
        await run("true", read=(folder,))


async def test_options_and_environment_do_not_show_in_a_list_of_processes():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run("sleep", "4.25", env={**ENV, "TOKEN": "s3cr3t"}))
        with trio.fail_after(10):
            for _ in range(1000):
                if alive("4.25"):
                    break
                await trio.sleep(0.01)
        seen = await trio.run_process(["ps", "ax", "-o", "args"], capture_stdout=True)
        assert b"4.25" in seen.stdout
        assert b"s3cr3t" not in seen.stdout
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_it_outlives_the_idle_time_of_a_worker_thread():
    """trio ends a worker thread after 10 idle seconds, and PDEATHSIG would kill what that thread started."""
    began = time.monotonic()
    assert (await run("sh", "-c", "sleep 12; echo alive")).stdout == b"alive\n"
    assert time.monotonic() - began >= 12


async def test_a_deadline_ends_the_tool_and_all_it_has_started():
    script = "trap '' TERM; setsid sleep 77.125 & setsid sleep 77.125 >/dev/null 2>&1 & sleep 77.125"
    with pytest.raises(ToolTimeout, match=r"sh did not end within 0.5 s"):
        await run("sh", "-c", script, deadline_s=0.5)
    assert alive("77.125") == []


async def test_the_end_of_the_tool_is_the_end_of_all_it_has_started():
    finished = await run("sh", "-c", "setsid sleep 78.125 >/dev/null 2>&1 </dev/null & exit 3")
    assert finished.code == 3
    assert alive("78.125") == []


async def test_cancelling_ends_it():
    with trio.move_on_after(0.3):
        await run("sleep", "79.125")
    assert alive("79.125") == []


async def test_cancelled_at_any_instant_it_does_nothing_afterwards(tmp_path: Path):
    """What was cut short before it was known to bwrap's parent must not go on by itself."""
    folder = real(tmp_path)
    for n in range(30):
        with trio.move_on_after(n * 0.001):
            await run("touch", str(folder / "file"), write=(folder,))
        (folder / "file").unlink(missing_ok=True)
        assert alive(str(folder / "file")) == []
    await trio.sleep(0.1)
    assert os.listdir(folder) == []


async def test_a_program_that_is_not_there_is_a_failed_start():
    with pytest.raises(ToolFailed, match="no-such-program"):
        await run("no-such-program")


async def test_a_path_that_is_not_there_is_a_failed_start(tmp_path: Path):
    with pytest.raises(ToolFailed, match="missing"):
        await run("true", read=(real(tmp_path) / "missing",))


async def test_no_descriptor_is_left():
    await run("true")
    before = sorted(os.listdir("/proc/self/fd"))
    await run("sh", "-c", "echo x")
    with pytest.raises(ToolTimeout):
        await run("sleep", "5", deadline_s=0.1)
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_folder_inside_another_has_a_mode_of_its_own(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    script = f"touch {tmp_path}/made; touch {tmp_path}/kept/made"
    finished = await run("sh", "-c", script, read=(real(tmp_path / "kept"),), write=(real(tmp_path),))
    assert (finished.code, b"Read-only file system" in finished.stderr) == (1, True)
    assert sorted(os.listdir(tmp_path)) == ["kept", "made"]


async def test_one_that_cannot_be_mounted_safely_is_told(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(ToolFailed, match="a link is in the way"):
        await run("true", read=(real(tmp_path) / "link",), write=(real(tmp_path),))


async def test_without_a_descriptor_left_it_is_a_failed_start(monkeypatch: pytest.MonkeyPatch):
    def scarce(*_: object) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe2", scarce)
    with pytest.raises(tool.ToolFailed, match="Too many open files"):
        await run("true")
