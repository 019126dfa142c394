"""Ports over what is really there: spools read by their offsets, and folders that no agent may have."""

import dataclasses
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from dashd.agent_ports import PREFERRED, DriverPort, SpoolPort, WallsPort
from dashd.drivers import Programs, program_version
from dashd.drivers.program_version import NotAsked, NoVersion
from dashd.drivers.programs import pinned
from dashd.jail import git_folders, launch, links, spool
from dashd.jail.view import Bounds
from dashd.runtime.growth import Growth
from dashd.runtime.jails import Jails
from dashd.service.drivers import KEEP_SESSIONS
from dashd.service.ports import Chunk, Spools
from dashd.wire import errors
from tests.fakes.ports import FakeSpools

LAUNCH = "aaaaaa-t1.1"


class RealSpool:
    """A spool as a holder writes it, and the port that reads it."""

    def __init__(self, launches: Path) -> None:
        self.folder = launches / LAUNCH
        self.folder.mkdir(parents=True)
        self.here = os.open(self.folder, os.O_RDONLY)
        self.writer = spool.Writer(self.here, None)
        self.growth = Growth()
        self.port = SpoolPort(SimpleNamespace(folder=lambda launch: launches / launch, growth=self.growth))  # type: ignore[arg-type]

    def prints(self, payload: bytes, stream: int = 1) -> None:
        self.writer.append(stream, payload)
        self.growth.ring(LAUNCH)

    def close(self) -> None:
        os.close(self.here)
        if self.writer.fd >= 0:
            os.close(self.writer.fd)


@pytest.fixture
def found(tmp_path: Path):
    """`found("pi", "node")`: a port on a machine where these are configured."""

    def found(*names: str) -> DriverPort:
        (tmp_path / "program").write_text("")
        return DriverPort(Programs(None, dict.fromkeys(names, str(tmp_path / "program"))), {})

    return found


async def test_without_a_driver_the_first_program_that_is_here_is_taken_and_said(found) -> None:
    assert await found("openclaw", "pi", "node").choose(None, has_argv=False) == (
        "openclaw",
        "no driver was named, and openclaw is configured",
    )
    assert (await found("openclaw", "node").choose(None, has_argv=True))[0] == "command"
    assert await found("pi", "node").choose(None, has_argv=False) == (
        "pi",
        "no driver was named, and pi is configured",
    )
    assert (await found("pi", "node").choose(None, has_argv=True))[0] == "command"
    name, why = await found("pi").choose(None, has_argv=False)  # Pi without Node cannot run
    assert name == "embedded"
    nothing = "is neither installed nor configured"
    assert why == f"no driver was named; openclaw {nothing}; pi is here, and needs node: node {nothing}"
    assert await found().choose("pi", has_argv=False) == ("pi", "it was asked for")


async def test_a_program_that_is_configured_and_cannot_be_used_is_not_passed_over_in_silence(
    tmp_path: Path,
) -> None:
    (tmp_path / "program").write_text("")
    here = dict.fromkeys(("pi", "node"), str(tmp_path / "program"))
    gone = str(tmp_path / "gone.mjs")
    without = DriverPort(Programs(None, here | {"openclaw": gone}), {})
    assert await without.choose(None, has_argv=False) == (
        "pi",
        "no driver was named, and pi is configured; "
        f"programs.openclaw is set to {gone!r}, which is no program, so it is not taken",
    )


def test_every_program_that_is_taken_unasked_keeps_sessions(found) -> None:
    assert PREFERRED == KEEP_SESSIONS, "so the one that a swarm would have is one for a session too"
    known = found().drivers
    assert {name for name in known if found().abilities(name).keeps_session} == set(KEEP_SESSIONS)


async def test_a_pi_that_was_added_counts_as_well_where_its_node_is_here(found) -> None:
    here = found("node")
    here.programs.added = lambda name: ["next", "other"] if name == "pi" else []
    assert await here.choose(None, has_argv=False) == (
        "pi",
        "no driver was named, and places that run pi were added: next, other",
    )
    assert here.drivers["pi"].check(None, "/") == ([], "/")
    without = found()
    without.programs.added = here.programs.added
    assert "pi is in next, other, and needs node: node is" in (await without.choose(None, has_argv=False))[1]
    with pytest.raises(errors.Unsupported, match="driver pi needs node"):
        without.drivers["pi"].check(None, "/")


async def test_gateways_that_were_added_have_an_openclaw_of_their_own(found) -> None:
    port, there = found(), ["desk"]
    with pytest.raises(errors.Unsupported, match="driver openclaw needs openclaw"):
        await port.check("openclaw", None, "/", away=True)
    port.gateways = lambda: there
    assert await port.check("openclaw", None, "/", away=True) == ([], "/")
    with pytest.raises(errors.InvalidParams, match="takes no argv"):
        await port.check("openclaw", ["true"], "/", away=True)
    with pytest.raises(errors.InvalidParams, match="there is no folder"):
        await port.check("openclaw", None, "/no/such", away=True)
    with pytest.raises(errors.Unsupported, match="driver openclaw needs openclaw"):
        await port.check("openclaw", None, "/")
    there.clear()
    with pytest.raises(errors.Unsupported, match="driver openclaw needs openclaw"):
        await port.check("openclaw", None, "/", away=True)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch):
    """A machine with Node and Pi configured and an OpenClaw on PATH, which says `says[0]`; what was asked."""
    for name in ("node", "openclawd", "cli.js"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    says: list[str | Exception] = [pinned()["openclaw"].version]
    asked: list[str] = []

    async def version(_node, program):
        await trio.lowlevel.checkpoint()
        asked.append(program.path)
        if isinstance(says[0], Exception):
            raise says[0]
        return says[0]

    monkeypatch.setattr(program_version, "version", version)
    configured = {"node": str(tmp_path / "node"), "pi": str(tmp_path / "cli.js")}
    return DriverPort(Programs(None, configured, str(tmp_path)), {}), says, asked


async def test_a_program_on_the_path_counts_as_well(on_path) -> None:
    here, _, asked = on_path
    for _ in range(2):
        assert await here.choose(None, has_argv=False) == (
            "openclaw",
            "no driver was named, and openclaw is on PATH",
        )
    await here.check("openclaw", None, "/")
    assert (len(asked), here.remarks("openclaw", [])) == (1, [])


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ("2025.1.1", "is of version 2025.1.1, and Dash was tested with"),
        (NoVersion("it ended with exit code 1"), "does not say its version: it ended with exit code 1"),
    ],
)
async def test_one_of_another_version_is_taken_only_where_it_is_named(on_path, tmp_path, says, said) -> None:
    here, told, asked = on_path
    told[0] = says
    name, why = await here.choose(None, has_argv=False)
    assert name == "pi"
    assert why.startswith("no driver was named, and pi is configured; openclaw on PATH (")
    assert (said in why, "dashctl program install openclaw" in why) == (True, True)
    assert await here.choose("openclaw", has_argv=False) == ("openclaw", "it was asked for")
    await here.check("openclaw", None, "/")
    (remark,) = here.remarks("openclaw", [])
    assert (said in remark, len(asked)) == (True, 1)
    (tmp_path / "cli.js").unlink()
    name, why = await here.choose(None, has_argv=False)
    assert (name, said in why, len(asked)) == ("embedded", True, 1)


async def test_one_that_cannot_be_asked_here_is_taken_and_that_is_said(on_path) -> None:
    here, told, _ = on_path
    told[0] = NotAsked("no jail can be built here")
    assert (await here.choose(None, has_argv=False))[0] == "openclaw"
    await here.check("openclaw", None, "/")
    assert "is not known: no jail can be built here" in str(here.remarks("openclaw", []))


def test_how_many_of_a_driver_at_once(tmp_path: Path) -> None:
    port = DriverPort(Programs(), {"openclaw": 3})
    assert (port.abilities("openclaw").at_once, port.abilities("pi").at_once) == (3, None)


def test_what_drivers_can_do(found) -> None:
    assert found().abilities("pi").message
    assert not found().abilities("embedded").message


def test_what_an_agent_would_be_told_is_what_its_driver_says(found) -> None:
    port, asked = found(), ("fix it", "a.py", "/srv", ["/srv/src"])
    said = port.told("pi", *asked)
    assert said == port.told("openclaw", *asked)
    assert said.startswith("Task: fix it\nYour item: a.py\nFolder: /srv\nYou can write only in: /srv/src\n")
    assert '"files_changed"' in said
    assert port.told("embedded", *asked) == "Task: fix it\nYour item: a.py\nFolder: /srv"
    assert port.told("command", *asked) == ""


@pytest.fixture
def real(tmp_path: Path):
    made = RealSpool(tmp_path / "launches")
    yield made
    made.close()


@pytest.fixture(params=["fake", "real"])
def spools(request: pytest.FixtureRequest, real: RealSpool):
    """(the port, a function that prints): the fake and the real one answer alike."""
    if request.param == "real":
        return real.port, real.prints
    fake = FakeSpools()
    return fake, lambda payload, stream=1: fake.prints(LAUNCH, payload, stream)


async def _walk(port: Spools, stream: int | None) -> bytes:
    output, offset = b"", 0
    while True:
        chunk = await port.read(LAUNCH, offset, 1, stream)
        if not chunk.output:
            return output
        assert chunk.next_offset > offset
        output, offset = output + chunk.output, chunk.next_offset


async def test_a_spool_is_read_on_by_its_offsets(spools) -> None:
    port, prints = spools
    assert await port.read(LAUNCH, None, 100, None) == Chunk(b"", 0)
    assert await port.read("never-launched", 0, 100, None) == Chunk(b"", 0)
    for number in range(5):
        prints(b"out %d\n" % number)
        prints(b"err %d\n" % number, 2)
    whole = b"".join(b"out %d\nerr %d\n" % (number, number) for number in range(5))
    assert await _walk(port, None) == whole
    assert await _walk(port, 1) == b"".join(b"out %d\n" % number for number in range(5))
    assert await _walk(port, 2) == b"".join(b"err %d\n" % number for number in range(5))
    tail = await port.read(LAUNCH, None, 6, 2)
    assert tail.output == b"err 4\n"
    assert (await port.read(LAUNCH, tail.next_offset, 100, None)).output == b""


async def test_much_of_one_stream_does_not_hide_the_other(spools) -> None:
    port, prints = spools
    for _ in range(50):
        prints(b"x" * 1_000)
    prints(b"at last\n", 2)
    assert (await port.read(LAUNCH, 0, 10, 2)).output == b"at last\n"


async def test_a_ticket_rings_for_what_comes_after_it(spools) -> None:
    port, prints = spools
    prints(b"before")
    ticket = port.ticket(LAUNCH)
    assert not ticket.is_set()
    prints(b"after")
    assert ticket.is_set()


@pytest.mark.parametrize("offset", [1, 2**63])
async def test_an_offset_that_is_none_is_refused(real: RealSpool, offset: int) -> None:
    real.prints(b"hello")
    with pytest.raises(errors.InvalidParams) as caught:
        await real.port.read(LAUNCH, offset, 10, None)
    assert caught.value.path == "offset"
    assert str(offset) in caught.value.message


async def test_a_damaged_file_says_so(real: RealSpool) -> None:
    (real.folder / "spool").write_bytes(b"\xff" * 20)
    with pytest.raises(errors.InvalidParams, match="damaged"):
        await real.port.read(LAUNCH, None, 10, None)


# --- walls --------------------------------------------------------------------------------------------------


def port(tmp_path: Path, grade_min="B") -> WallsPort:
    own = tmp_path / "state"
    own.mkdir(exist_ok=True)
    return WallsPort(Jails(grade_min, launch.Outside(), {}), required=True, own=[own])


@pytest.mark.parametrize("folder", ["/sys", "/sys/fs/cgroup"])
async def test_where_limits_are_cgroups_no_agent_has_those(folder, tmp_path):
    found = port(tmp_path)
    found._jails._walls = launch.Walls("A")
    for write, read in (([folder], []), ([], [folder])):
        with pytest.raises(errors.InvalidParams, match="/sys/fs/cgroup, where agents' limits are kept"):
            await found.check(write, read)
    found._jails._walls = launch.Walls("B")
    await found.check([], [folder])


async def test_what_is_built_is_told_with_what_is_required(tmp_path):
    state = await port(tmp_path, "0").state()
    assert (state.grade_min, state.required, state.enough) == ("0", True, True)
    assert state.grade in "ABC0"


async def test_without_walls_nothing_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("dashd.jail.probe.probe", lambda _: pytest.fail("nobody asked"))
    jails = Jails("B", launch.Outside(), {})
    assert not (await WallsPort(jails, required=False, own=[]).state()).required


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("home", "is your home"),
        (".", "is your home, or around it"),
        ("state", "is Dash's own"),
        ("state/launches", "is Dash's own"),
        ("gone", "is not there"),
        ("to-home", "leads through a link to"),
    ],
)
async def test_a_folder_that_no_agent_may_have(folder, why, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "state" / "launches").mkdir(parents=True)
    (tmp_path / "to-home").symlink_to("home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = str(tmp_path / folder).removesuffix("/.")
    with pytest.raises(errors.InvalidParams, match=why) as refused:
        await port(tmp_path).check([given], [])
    assert refused.value.hint
    with pytest.raises(errors.InvalidParams, match=why):
        await port(tmp_path).check([], [given])


async def test_a_folder_that_is_exchanged_meanwhile_is_refused(tmp_path, monkeypatch):
    """It was a link when it was looked at, and none when that was to be read."""
    given, found, real = str(tmp_path / "swapped"), port(tmp_path, "0"), os.path.realpath

    def realpath(path: str) -> str:
        if path == given:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path)

    monkeypatch.setattr(os.path, "realpath", realpath)
    for write, read in (([given], []), ([], [given])):
        with pytest.raises(errors.InvalidParams, match="changed while it was looked at: Invalid") as caught:
            await found.check(write, read)
        assert caught.value.hint


async def test_any_other_folder_may_be_given(tmp_path, monkeypatch):
    (tmp_path / "home" / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    await port(tmp_path).check([str(tmp_path / "home" / "project")], ["/usr/share"])


def test_what_enforces_is_told_by_grade(tmp_path):
    held = port(tmp_path).enforcers("B", '{"memory_mb": 512}', None)
    assert held["memory"][0] == "512 MiB"
    assert held["memory"][1].startswith("watchdog")
    assert (held["tmp"][0], held["output"]) == ("128 MiB", ("256 MiB", "holder"))
    assert port(tmp_path).enforcers("0", "{}", None) == {}
    launched = json.dumps({"bounds": dataclasses.asdict(Bounds(memory_bytes=3 << 30))})
    assert port(tmp_path).enforcers("B", '{"memory_mb": 512}', launched)["memory"][0] == "3072 MiB"


async def test_a_file_that_is_linked_from_outside_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    store, folder = tmp_path / "store", tmp_path / "my project's"
    (folder / "in it").mkdir(parents=True)
    store.write_text("x")
    store.chmod(0o440)
    for name in ("trap", "in it/-trap $HOME"):
        os.link(store, folder / name)
    with pytest.raises(errors.InvalidParams, match=r"trap.* is linked from outside") as refused:
        await port(tmp_path, "0").check([str(folder)], [])
    assert "clone" in refused.value.hint
    await port(tmp_path, "0").check([], [str(folder)])

    # The hint is a command, and does what it says.
    await trio.run_process(["sh", "-c", refused.value.hint])
    await port(tmp_path, "0").check([str(folder)], [])
    for name in ("trap", "in it/-trap $HOME"):
        assert (folder / name).read_text() == "x"
        assert (folder / name).stat().st_mode & 0o777 == 0o440
    assert sorted(os.listdir(folder)) == ["in it", "trap"]
    assert store.stat().st_nlink == 1


@pytest.mark.parametrize("why", ["shut", "too many"])
async def test_what_cannot_be_looked_through_is_no_matter_of_breaking_links(why, tmp_path, monkeypatch):
    """That command rewrites files, and where nobody has seen a link it is the wrong advice."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work/shut").mkdir(parents=True)
    found = port(tmp_path, "0")
    scandir = os.scandir

    def refuses(path: object) -> object:
        if str(path).endswith("/shut"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    if why == "shut":
        monkeypatch.setattr(os, "scandir", refuses)
    else:
        monkeypatch.setattr(links.leading_out, "__defaults__", (0,))
    with pytest.raises(errors.InvalidParams, match=r"cannot be looked through|too many to look") as refused:
        await found.check([str(tmp_path / "work")], [])
    assert refused.value.hint
    assert "find " not in refused.value.hint


@pytest.mark.parametrize("folder", [".git", ".git/hooks", "b1.git", "b1.git/refs"])
async def test_a_git_directory_is_given_to_nobody_to_write(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for each in (".git/hooks", "b1.git/objects", "b1.git/refs", "b1.git/HEAD"):
        (tmp_path / each).mkdir(parents=True)
    given = str(tmp_path / folder)
    with pytest.raises(errors.InvalidParams, match=r"git directory.*, from which git runs") as refused:
        await port(tmp_path, "0").check([given], [])
    assert refused.value.hint
    await port(tmp_path, "0").check([], [given])


async def test_more_git_directories_than_can_be_kept_are_refused_where_they_would_be(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (f"x{each}" for each in range(git_folders.FOUND_MAX)):
        (tmp_path / "one" / name / ".git").mkdir(parents=True)
    (tmp_path / "two" / ".git").mkdir(parents=True)
    found, both = port(tmp_path), [str(tmp_path / "one"), str(tmp_path / "two")]
    found._jails._walls = launch.Walls("B")
    await found.check(both[:1], [])
    with pytest.raises(errors.InvalidParams, match="two holds more than 0 git directories"):
        await found.check(both, [])
    found._jails._walls = launch.Walls("C")
    await WallsPort(found._jails, required=False, own=[]).check(both, [])
