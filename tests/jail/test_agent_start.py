"""A jailed start through fork server and holder: its listener, its failures, its end."""

import os
import socket

import pytest
import trio

from dashd.jail import agent_start, launch, launch_folder, launcher, usage, view
from tests.jail import inside
from tests.jail.world import World, deadline, exited, printed, whole


def spec(launch_id: str, folder, *argv: str, outside=inside.NOTHING, **options) -> launcher.LaunchSpec:
    seen = view.View(str(folder), (view.Folder(str(folder)),))
    planned = launch.plan(inside.of_grade("B"), seen, python=view.python(), outside=outside)
    command = ["/bin/sh", "-c", argv[0]] if len(argv) == 1 else list(argv)
    return launcher.LaunchSpec(launch_id, command, inside.ENVIRON, str(folder), jail=planned, **options)


@deadline
async def test_an_agent_works_in_its_jail_and_its_end_is_its_own(world: World, tmp_path):
    link = world.keep(await world.launcher.launch_adopted(spec("a", tmp_path, "echo x > made; exit 3"), 1))
    record = await exited(link)
    assert (record.code, record.signal, record.reason) == (3, None, "exit")
    assert (tmp_path / "made").exists()


@deadline
async def test_its_listener_comes_with_the_link_and_again_with_each_adoption(world: World, tmp_path):
    code = "import socket; s = socket.create_connection(('127.0.0.1', 8787))"
    code += "; print(s.recv(9), flush=True); s.recv(9)"
    first = await world.launcher.launch_adopted(spec("a", tmp_path, *inside.python_inside(code)), 1)
    assert first.listener is not None
    first.listener.close()
    await first.aclose()
    link = await world.adopt(world.folder("a"), 2)
    assert link.listener is not None
    accepted, _ = await trio.to_thread.run_sync(link.listener.accept)
    with accepted:
        accepted.sendall(b"hello")
        assert b"hello" in await printed(link, world.folder("a"), b"hello")
    assert (await exited(link)).code == 0


@deadline
async def test_a_jail_that_does_not_stand_is_a_failed_start(world: World, tmp_path):
    (tmp_path / "leak").write_text("")
    outside = launch.Outside((f"{tmp_path}/leak",))
    refused = spec("a", tmp_path, "echo x", outside=outside)
    link = world.keep(await world.launcher.launch_adopted(refused, 1))
    record = await exited(link)
    assert (record.reason, record.code) == ("start", None)
    assert record.error is not None
    assert record.error.startswith(f"self-test: {tmp_path}/leak can be read")


@deadline
async def test_what_bubblewrap_says_is_passed_on(world: World, tmp_path):
    good = spec("a", tmp_path, "echo x")
    assert good.jail is not None
    good.jail["options"].append("--no-such-option")
    record = await exited(world.keep(await world.launcher.launch_adopted(good, 1)))
    assert record.reason == "start"
    assert "its jail ended before it began: bwrap: Unknown option --no-such-option" in str(record.error)


@deadline
async def test_a_folder_that_is_gone_refuses_the_launch(world: World, tmp_path):
    with pytest.raises(launcher.LaunchFailed, match=f"No such file or directory: opening {tmp_path}/gone"):
        await world.launcher.launch_adopted(spec("a", tmp_path / "gone", "echo x"), 1)


@deadline
async def test_a_signal_shows_as_one_and_the_grace_is_inside(world: World, tmp_path):
    script = "trap 'echo graceful; exit 7' TERM; echo up; while :; do sleep 0.01; done"
    link = world.keep(await world.launcher.launch_adopted(spec("a", tmp_path, script), 1))
    await printed(link, world.folder("a"), b"up")
    await link.stop(5)
    record = await exited(link)
    assert (record.code, record.signal, record.reason) == (7, None, "stop")
    assert b"graceful" in whole(world.folder("a"))
    link = world.keep(await world.launcher.launch_adopted(spec("b", tmp_path, "kill -9 $$"), 1))
    record = await exited(link)
    assert (record.code, record.signal) == (None, 9)


@deadline
async def test_a_jailed_agent_cannot_stay_behind(world: World, tmp_path):
    forever = "while :; do sleep 0.01; done"
    script = f"setsid env -i sh -c 'trap : TERM; echo up; {forever}' & {forever}"
    link = world.keep(await world.launcher.launch_adopted(spec("a", tmp_path, script, lease_s=0), 1))
    await printed(link, world.folder("a"), b"up")
    await link.stop(0.1)
    await exited(link)
    assert isinstance(launch_folder.examine(world.folder("a")), launch_folder.Ended)


def test_only_a_stage_that_said_ready_began():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    start = agent_start.AgentStart({"jail": None, "env": {}, "argv": ["x"], "launch": "a"})
    with ours, theirs:
        theirs.send(b"listener")  # without the descriptor it is no listener
        assert start._take(ours, os.getppid())
        assert start.error == "listener"
        theirs.close()
        assert not start._take(ours, os.getppid())


def _oom_score_adj(pid: int | str) -> int:
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


@deadline
async def test_the_kernel_ends_an_agent_before_its_holder_and_dashd(world: World, tmp_path):
    code = (
        "path = '/proc/self/oom_score_adj'\n"
        "print(open(path).read().strip())\n"
        "try: print(open(path, 'w').write('0') and 'lowered')\n"
        "except OSError as error: print(error.strerror)\n"
        "print('told', flush=True)\n"
        "import time; time.sleep(60)"
    )
    agent = spec("a", tmp_path, *inside.python_inside(code))
    link = world.keep(await world.launcher.launch_adopted(agent, 1))
    said = await printed(link, world.folder("a"), b"told")
    own = _oom_score_adj("self")
    assert said.decode().split("\n")[:2] == [str(min(own + 500, 1000)), "Permission denied"]
    assert _oom_score_adj(link.adopted.pid) == min(own + 500, 1000)  # bubblewrap's, as all below it
    assert _oom_score_adj(usage.all_processes()[link.adopted.pid].parent) == own
