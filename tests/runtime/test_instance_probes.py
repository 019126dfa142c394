"""Whether instances can start a Pi: real files, a made-up version, virtual time."""

import os

import msgspec
import pytest
import trio

from dashd.drivers import program_version
from dashd.drivers.program_version import NoVersion
from dashd.drivers.programs import Programs
from dashd.runtime.instance_probes import InstanceProbes
from dashd.runtime.rounds import AGAIN_S, EVERY_S
from dashd.store import instances
from dashd.store.instances import InstanceRow


@pytest.fixture
def files(tmp_path):
    for name in ("node", "cli.js", "next.js"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def versions(monkeypatch):
    """What each file says when it is asked, and which were."""
    says: dict[str, str | Exception] = {"next.js": "1.6.0", "cli.js": "1.5.2"}
    asked: list[str] = []

    async def version(_node, pi):
        await trio.lowlevel.checkpoint()
        asked.append(os.path.basename(pi.path))
        found = says[asked[-1]]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(program_version, "version", version)
    return says, asked


@pytest.fixture
async def probes(bed, nursery, files):
    programs = Programs(None, {"node": str(files / "node"), "pi": str(files / "cli.js")})
    made = InstanceProbes(bed.world, programs)
    nursery.start_soon(made.run)
    return made


def put(scene, files, name="next.js"):
    row = InstanceRow("next", "static", str(files / name), "[]", None, 4)
    return scene.do(lambda tx: instances.put(tx, row))


def told(scene):
    return [each["data"]["health"] for each in scene.events() if each["kind"].startswith("system.")]


def rewrite(path, text):
    """Another file in its place, as an installation makes it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


async def test_its_version_is_asked_once_as_long_as_its_files_stay(
    probes, scene, files, versions, autojump_clock
):
    _, asked = versions
    put(scene, files)
    await trio.sleep(4 * EVERY_S)
    seen = probes.seen["next"]
    assert (seen.health, seen.version, asked) == ("alive", "1.6.0", ["next.js"])
    assert instances.find(scene.db, "next").version == "1.6.0"
    assert told(scene) == ["alive"]


async def test_another_file_is_asked_again_and_another_version_told(
    probes, scene, files, versions, autojump_clock
):
    says, asked = versions
    put(scene, files)
    await trio.sleep(1)
    says["next.js"] = "1.7.0"
    rewrite(files / "next.js", "next 2")
    await trio.sleep(EVERY_S)
    assert (probes.seen["next"].version, asked) == ("1.7.0", ["next.js"] * 2)
    rewrite(files / "node", "another node")
    await trio.sleep(EVERY_S)
    assert len(asked) == 3
    assert told(scene) == ["alive", "alive"]


async def test_a_file_that_goes_is_unknown_then_dead_and_comes_back(
    probes, scene, files, versions, autojump_clock
):
    put(scene, files)
    await trio.sleep(1)
    os.rename(files / "next.js", files / "away.js")
    await trio.sleep(EVERY_S)
    assert probes.seen["next"].health == "unknown"
    await trio.sleep(AGAIN_S)
    assert (probes.seen["next"].health, told(scene)) == ("dead", ["alive", "dead"])
    assert "which is no program" in probes.seen["next"].why
    os.rename(files / "away.js", files / "next.js")
    await trio.sleep(EVERY_S)
    assert (probes.seen["next"].health, told(scene)) == ("alive", ["alive", "dead", "alive"])


async def test_without_node_or_a_version_it_is_not_alive(probes, scene, files, versions, autojump_clock):
    says, _ = versions
    says["next.js"] = NoVersion("it ended with exit code 1")
    put(scene, files)
    assert (await probes.ask("next")).why == "it ended with exit code 1"
    os.unlink(files / "node")
    assert (await probes.ask("next")).why.startswith("pi needs node: programs.node is set to ")


async def test_after_a_start_the_row_says_the_version_and_nothing_is_told_again(
    bed, probes, scene, files, versions, autojump_clock
):
    _, asked = versions
    put(scene, files)
    await trio.sleep(1)
    again = InstanceProbes(bed.world, probes._programs)
    await again.follow()
    assert (again.seen["next"].health, again.seen["next"].version) == ("unknown", "1.6.0")
    await again.ask("next")
    assert (again.seen["next"].health, asked, told(scene)) == ("alive", ["next.js"], ["alive"])


async def test_health_that_changes_wakes_the_queue(bed, probes, scene, files, versions, autojump_clock):
    ticket = bed.world.store.bells.queue.ticket()
    put(scene, files)
    with trio.fail_after(1):
        await ticket.wait()


async def test_the_pi_that_is_found_is_looked_at_as_the_others_are_and_says_its_version_when_asked(
    probes, scene, files, versions, autojump_clock
):
    _, asked = versions
    scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    await trio.sleep(3 * EVERY_S)
    assert (asked, probes.looks()["local"].health) == ([], "alive")
    assert [await probes.look_here() for _ in range(2)] == [""] * 2
    assert (asked, instances.find(scene.db, "local").version) == (["cli.js"], "1.5.2")
    assert (probes.looks()["local"].version, told(scene)) == ("1.5.2", [])
    os.unlink(files / "cli.js")
    assert (await probes.look_here()).startswith("programs.pi is set to ")
    await trio.sleep(EVERY_S + AGAIN_S + 1)
    assert (probes.looks()["local"].health, told(scene)) == ("dead", ["dead"])
    rewrite(files / "cli.js", "cli")
    await trio.sleep(EVERY_S)
    assert (probes.looks()["local"].health, told(scene)) == ("alive", ["dead", "alive"])
    assert asked == ["cli.js", "cli.js"], "it was known, and is another file"


async def test_where_dash_finds_no_pi_its_own_place_is_dead_and_nobody_is_alarmed(
    probes, scene, files, autojump_clock
):
    os.unlink(files / "cli.js")
    scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    await trio.sleep(1 + AGAIN_S)
    assert (probes.looks()["local"].health, told(scene)) == ("dead", [])


async def test_where_the_folder_of_programs_cannot_be_entered_its_own_place_is_dead(
    bed, scene, nursery, tmp_path, autojump_clock
):
    programs = Programs(tmp_path / "programs")
    (tmp_path / "programs").symlink_to("programs")  # ELOOP, for root too
    made = InstanceProbes(bed.world, programs)
    nursery.start_soon(made.run)
    scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    await trio.sleep(1 + AGAIN_S)
    assert made.looks()["local"].health == "dead"
    assert made.seen["local"].why.startswith("pi cannot be looked for: ")
    assert (await made.look_here()).startswith("pi cannot be looked for: ")


async def test_after_a_failure_in_a_place_all_that_are_alive_are_looked_at(
    probes, scene, files, versions, autojump_clock
):
    scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    put(scene, files)
    await trio.sleep(1)
    os.unlink(files / "cli.js")
    scene.do(lambda tx: tx.ring("failures"))
    await trio.sleep(1)
    assert {name: look.health for name, look in probes.looks().items()} == {
        "local": "unknown",
        "next": "alive",
    }


async def test_another_program_under_the_name_is_asked_anew(probes, scene, files, versions, autojump_clock):
    _, asked = versions
    row = put(scene, files)
    await trio.sleep(1)
    scene.do(lambda tx: instances.put(tx, msgspec.structs.replace(row, program=str(files / "cli.js"))))
    await trio.sleep(1)
    assert (probes.seen["next"].version, asked) == ("1.5.2", ["next.js", "cli.js"])


async def test_where_no_thread_can_be_started_for_a_moment_a_look_waits_for_one(
    probes, scene, files, versions, autojump_clock, scarce
):
    scene.do(lambda tx: instances.put(tx, instances.own("local", 4)))
    put(scene, files)
    await trio.sleep(EVERY_S)
    tries = scarce(3)
    await trio.sleep(EVERY_S + 1)
    assert {"named", "look", "stamp"} <= {each for each in tries if tries.count(each) > 3}
    assert {each.health for each in probes.seen.values()} == {"alive"}
    assert await probes.look_here() == ""
