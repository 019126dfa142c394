"""Programs through the service's port: a worker process, and programs that are scripts."""

import dataclasses
from pathlib import Path

import pytest
import trio

from dashd import program_ports
from dashd.drivers import program_install, program_version, programs
from dashd.drivers.programs import RECORD, UNFINISHED, Programs, pinned
from dashd.jail import tool
from dashd.program_ports import KNOWN, ProgramPort
from dashd.wire import errors
from tests.drivers.test_program_install import Shop
from tests.jail import inside

pytestmark = pytest.mark.slow


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def port(shop: Shop, monkeypatch) -> ProgramPort:
    """`pi` needs nothing here and is the shop's one program; the worker that fetches it is a script."""
    shop.stocks({"package/run": b"#!/bin/sh\necho v1.0\n"})
    program = dataclasses.replace(shop.program, name="pi")
    monkeypatch.setattr(program_ports, "pinned", lambda: {"pi": program})
    monkeypatch.setattr(programs, "pinned", lambda: {"pi": program})
    return ProgramPort(Programs(shop.place), shop.environ)


def _works(shop: Shop, monkeypatch, script: str) -> None:
    """What the port starts is this script, in place of Python."""
    worker = _script(shop.folder / "worker", script)
    monkeypatch.setattr(program_ports.sys, "executable", worker)


def _installs(shop: Shop, port: ProgramPort) -> None:
    program_install.install(shop.place, program_ports.pinned()["pi"], lambda _: None, shop.environ)


async def test_what_there_is(port: ProgramPort, shop: Shop) -> None:
    listed = {row.name: row for row in await port.listed()}
    assert tuple(listed) == KNOWN
    assert (listed["pi"].state, listed["pi"].version, listed["pi"].note) == (
        "missing",
        "1.0",
        "dashctl program install pi",
    )
    assert (listed["openclaw"].state, listed["openclaw"].note) == ("missing", "set programs.openclaw")
    _installs(shop, port)
    (pi,) = [row for row in await port.listed() if row.name == "pi"]
    assert (pi.state, pi.path) == ("installed", str(shop.place / "pi-1.0/node_modules/@x/one/run"))


async def test_an_installation_runs_in_a_worker_and_says_how_far_it_is(port, shop, monkeypatch) -> None:
    pipe = shop.folder / "go"
    program_install.os.mkfifo(pipe)
    lines = ['echo \'{"progress": "pi: fetching it"}\'', f"read -r _ < {pipe}"]
    _works(shop, monkeypatch, "\n".join([*lines, f"touch {shop.folder}/worked", "echo '{\"done\": true}'"]))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            async def install() -> None:
                with pytest.raises(errors.Unavailable, match="is not there"):  # this worker installs nothing
                    await port.install("pi")

            nursery.start_soon(install)
            while (await port.listed())[1].note != "fetching it":  # noqa: ASYNC110  # it rings no bell
                await trio.sleep(0.01)
            assert (await port.listed())[1].state == "installing"
            await trio.to_thread.run_sync(lambda: pipe.write_text("\n"))
    assert (shop.folder / "worked").exists()
    assert (await port.listed())[1].state == "missing"


async def test_the_real_worker_says_what_to_do_where_it_fails(shop: Shop) -> None:
    """Without an npm on its PATH; the pins are the real ones."""
    port = ProgramPort(Programs(shop.place), {"PATH": "/nonexistent"})
    with trio.fail_after(30), pytest.raises(errors.Unavailable, match="there is no npm") as failed:
        await port.install("node")
    assert "section programs" in failed.value.hint
    assert list(shop.place.glob(f"{UNFINISHED}*")) == []


async def test_given_up_nothing_of_the_worker_is_left(port, shop, monkeypatch) -> None:
    pipe = shop.folder / "alive"
    program_install.os.mkfifo(pipe)
    _works(shop, monkeypatch, f"sleep 60 > {pipe} &\nsleep 60 > {pipe}")
    monkeypatch.setattr(program_ports, "INSTALL_S_MAX", 0.5)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            # The pipe ends when the last one that writes to it has.
            nursery.start_soon(trio.to_thread.run_sync, pipe.read_bytes)
            with pytest.raises(errors.DeadlinePassed, match="was given up"):
                await port.install("pi")


async def test_where_no_worker_can_be_started_for_now_that_is_said(port, shop, monkeypatch, scarce) -> None:
    _works(shop, monkeypatch, "echo '{\"done\": true}'")
    scarce(1)
    with trio.fail_after(20):
        with pytest.raises(errors.Unavailable, match="can't start new thread"):
            await port.install("pi")
        with pytest.raises(errors.Unavailable, match="is not there"):  # this worker installs nothing
            await port.install("pi")


async def test_what_is_there_is_not_installed_again(port, shop, monkeypatch) -> None:
    _installs(shop, port)
    _works(shop, monkeypatch, "exit 9")
    done = await port.install("pi")
    assert (done.changed, done.version) == (False, "1.0")


async def test_names_that_are_none(port: ProgramPort) -> None:
    for ask in (port.install, port.check):
        with pytest.raises(errors.NotFound, match="no program 'emacs'"):
            await ask("emacs")
    with pytest.raises(errors.Unsupported, match="cannot install openclaw"):
        await port.install("openclaw")


async def test_a_wrong_setting_is_named_and_not_worked_around(shop: Shop) -> None:
    port = ProgramPort(Programs(shop.place, {"node": "/no/such/node"}), shop.environ)
    with pytest.raises(errors.Conflict, match=r"programs\.node is set to '/no/such/node'"):
        await port.install("pi")
    (node,) = [row for row in await port.listed() if row.name == "node"]
    assert (node.state, node.note) == (
        "unusable",
        "programs.node is set to '/no/such/node', which is no program",
    )


async def test_checking_looks_at_every_file_and_asks_it(port, shop) -> None:
    assert "neither installed nor configured" in (await port.check("pi")).faults[0]
    _installs(shop, port)
    inside.of_grade("C")
    node = _script(shop.folder / "node", 'exec /bin/sh "$@"')
    port = ProgramPort(Programs(shop.place, {"node": node}), shop.environ)
    good = await port.check("pi")
    assert (good.ok, good.version, good.faults) == (True, "1.0", [])
    run = shop.place / "pi-1.0/node_modules/@x/one/run"
    run.write_text("#!/bin/sh\necho 2.0\n")
    bad = await port.check("pi")
    assert not bad.ok
    assert bad.faults == [
        "its files are not those that were installed",
        "it says that it is 2.0, and 1.0 was installed",
    ]
    (shop.place / "pi-1.0" / RECORD).unlink()
    assert not (await port.check("pi")).ok


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("exit 3", "asked for its version it ended with exit code 3: it said nothing"),
        ("echo no >&2; exit 1", "asked for its version it ended with exit code 1: no"),
        ("echo something else", "it says that it is 'something else', which is no version"),
        ("exec sleep 60", "did not end within 0.2 s"),
    ],
)
async def test_a_configured_one_is_asked_too(shop: Shop, monkeypatch, script: str, fault: str) -> None:
    inside.of_grade("C")
    monkeypatch.setattr(program_version, "VERSION_S_MAX", 0.2 if "sleep" in script else 20)
    node = _script(shop.folder / "node", script)
    checked = await ProgramPort(Programs(None, {"node": node}), shop.environ).check("node")
    assert (checked.ok, checked.version, len(checked.faults)) == (False, "", 1)
    assert checked.faults[0].endswith(fault)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("OpenClaw 2026.9.6 (eb377ac)", "2026.9.6"),
        ("v24.21.0", "24.21.0"),
        ("1.5.2-rc.1", "1.5.2-rc.1"),
    ],
)
async def test_a_version_is_read_from_what_a_program_says(shop: Shop, said: str, version: str) -> None:
    inside.of_grade("C")
    node = _script(shop.folder / "node", f"echo '{said}'")
    assert (await ProgramPort(Programs(None, {"node": node}), shop.environ).check("node")).version == version


async def test_one_of_another_version_is_told(shop: Shop) -> None:
    inside.of_grade("C")
    node = _script(shop.folder / "node", "echo v18.0.0")
    checked = await ProgramPort(Programs(None, {"node": node}), shop.environ).check("node")
    assert (checked.ok, checked.version) == (True, "18.0.0")
    assert checked.notes == ["Dash was tested with 24.21.0; dashctl program install node fetches that"]


async def test_one_on_the_path_has_no_version_before_it_is_asked(shop: Shop) -> None:
    inside.of_grade("C")
    openclaw = _script(shop.folder / "openclawd", "echo 1.0.0")
    path = str(Path(openclaw).parent)
    port = ProgramPort(Programs(None, {}, path), shop.environ)
    (row,) = [each for each in await port.listed() if each.name == "openclaw"]
    assert (row.state, row.version, row.path) == ("on PATH", "", openclaw)
    assert "tested with 2026.9.6" in (await port.check("openclaw")).notes[0]


async def test_what_path_happens_to_have_is_run_in_a_jail_alone(shop: Shop) -> None:
    """It can write nowhere, so that whoever put it there has no say outside."""
    inside.of_grade("C")
    folder = shop.folder / "theirs"
    folder.mkdir()
    _script(folder / "openclawd", f"echo > {folder}/mark\necho > {shop.folder}/mark\necho 1.0.0")
    checked = await ProgramPort(Programs(None, {}, str(folder)), shop.environ).check("openclaw")
    assert (checked.version, checked.faults) == ("1.0.0", [])
    assert [*folder.glob("mark"), *shop.folder.glob("mark")] == []


async def test_where_no_jail_can_be_built_nothing_is_run_and_it_says_so(shop: Shop, monkeypatch) -> None:
    async def no_jail(_tool):
        await trio.lowlevel.checkpoint()
        raise tool.ToolFailed("no program can be jailed here: old kernel; update it")

    monkeypatch.setattr(tool, "run", no_jail)
    node = _script(shop.folder / "node", f"echo > {shop.folder}/mark")
    checked = await ProgramPort(Programs(None, {"node": node}), shop.environ).check("node")
    said = "it could not be asked for its version: no program can be jailed here: old kernel; update it"
    assert (checked.ok, checked.version, checked.faults) == (False, "", [said])
    assert not (shop.folder / "mark").exists()


async def test_a_script_is_run_with_node(shop: Shop) -> None:
    cli = shop.folder / "cli.js"
    cli.write_text("")
    alone = ProgramPort(Programs(None, {"pi": str(cli)}), shop.environ)
    assert (await alone.check("pi")).faults == ["pi needs node, which is neither installed nor configured"]
    inside.of_grade("C")
    node = _script(shop.folder / "node", f'[ "$*" = "{cli} --version" ] && echo 7.7')
    both = ProgramPort(Programs(None, {"node": node, "pi": str(cli)}), shop.environ)
    assert (await both.check("pi")).version == "7.7"


def test_the_pins_have_names_that_can_be_asked_for() -> None:
    assert set(pinned("x86_64")) <= set(KNOWN)
