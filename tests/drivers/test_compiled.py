"""Compile caches: made once in a jail, whole or not at all, and anew where a program is another one."""

import dataclasses
import json
import logging
import os
from pathlib import Path

import msgspec
import pytest
import trio

from dashd.drivers import Programs, compiled, openclaw_gateway, over
from dashd.drivers.compiled import UNFINISHED, CannotFill, Compiled
from tests.fakes import jails

NODE = """#!/usr/bin/python3 -IS
import json, os, sys, urllib.request
cache = os.environ["NODE_COMPILE_CACHE"]
said = sys.stdin.readline()
files = json.loads(os.environ["DASH_PI_FILES"])
url = files["models.json"]["providers"]["dash"]["baseUrl"] + "/chat/completions"
told = urllib.request.urlopen(urllib.request.Request(url, data=b"{{}}")).read()
assert b"[DONE]" in told
print('{{"type":"agent_settled"}}', flush=True)
sys.stdin.read()
{does}
"""
KEEPS = "open(f'{cache}/kept', 'w').write(json.loads(said)['type'])"


def programs(folder: Path, does: str = KEEPS) -> Programs:
    """A stand-in for Node that is as much as a Pi needs, and does this at its end."""
    place = folder.resolve() / "there"
    place.mkdir(exist_ok=True)
    node, pi = place / "node", place / "cli.js"
    node.write_text(NODE.format(does=does))
    node.chmod(0o755)
    pi.write_text("")
    return Programs(None, {"node": str(node), "pi": str(pi)}, compiled=folder.resolve() / "compiled")


async def filled(found: Programs) -> str | None:
    """The folder of Pi's cache, once it was tried."""
    async with trio.open_nursery() as nursery:
        assert found.cache("pi") is None
        nursery.start_soon(found.compiled.run, over(found))
        with trio.fail_after(60.0):
            while found.cache("pi") is None and not over_with(found):  # noqa: ASYNC110  # nor does a folder
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    return found.cache("pi")


def over_with(found: Programs) -> bool:
    folder = found.compiled._folder
    assert folder is not None
    return bool(found.compiled._tried) and folder.is_dir() and not list(folder.glob(f"{UNFINISHED}*"))


def test_where_its_folder_cannot_be_looked_at_there_is_none(tmp_path, monkeypatch) -> None:
    found = programs(tmp_path)
    real, place = os.stat, f"{tmp_path.resolve()}/compiled/"

    def stat(path, *arguments, **options):
        if str(path).startswith(place):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert found.cache("pi") is None


def test_none_is_wanted_where_none_are_kept_or_no_node_runs_it(tmp_path) -> None:
    for name in ("node", "cli.js", "fake", "pi"):
        (tmp_path / name).write_text("")
    place = tmp_path / "compiled"
    assert (
        Programs(None, {"node": str(tmp_path / "node"), "pi": str(tmp_path / "cli.js")}).cache("pi") is None
    )
    for node, pi in (("fake", "cli.js"), ("node", "pi"), ("none", "cli.js"), ("node", "none")):
        found = Programs(None, {"node": str(tmp_path / node), "pi": str(tmp_path / pi)}, compiled=place)
        assert (found.cache("pi"), found.cache("node"), found.compiled._wanted) == (None, None, {})


async def test_it_is_made_in_a_jail_and_given_from_then_on(tmp_path) -> None:
    jails.needed()
    found = programs(tmp_path)
    (tmp_path / "compiled" / f"{UNFINISHED}left").mkdir(parents=True)  # by a daemon that was killed
    (tmp_path / "compiled" / "pi-before").mkdir()
    (tmp_path / "compiled" / "openclaw-other").mkdir()
    cache = await filled(found)
    assert cache is not None
    assert (Path(cache) / "kept").read_text() == "prompt"
    left = sorted(path.name for path in (tmp_path / "compiled").iterdir())
    assert left == ["openclaw-other", os.path.basename(cache)]
    node = tmp_path / "there" / "node"
    node.write_text(node.read_text() + "# newer\n")
    assert found.cache("pi") is None  # another program, another cache


async def test_each_installation_has_its_own_and_leaves_the_others_theirs(tmp_path) -> None:
    jails.needed()
    found = programs(tmp_path)
    other = tmp_path.resolve() / "other"
    other.mkdir()
    (other / "cli.js").write_text("another one")
    node, pi = found.find("node"), found.find("pi")
    assert pi is not None
    instance = msgspec.structs.replace(pi, path=str(other / "cli.js"), folder=str(other))

    def both() -> list[str | None]:
        return [found.compiled.find(node, each) for each in (pi, instance)]

    async with trio.open_nursery() as nursery:
        assert both() == [None, None]
        nursery.start_soon(found.compiled.run, over(found))
        with trio.fail_after(60.0):
            while None in both() and not (len(found.compiled._tried) == 2 and over_with(found)):  # noqa: ASYNC110
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert None not in both()


def test_an_installation_s_own_program_is_what_is_compiled(tmp_path) -> None:
    other = tmp_path / "cli.js"
    other.write_text("")
    command = over(programs(tmp_path))["pi"].command(compiled._work(str(other)), {})
    assert str(other) in command.argv


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("sys.exit('broken')", "broken"),
        ("", "its Node.js wrote none"),
        (f"{KEEPS}; os.symlink('/etc/passwd', f'{{cache}}/link')", "link, which is no plain file"),
    ],
)
async def test_what_goes_wrong_is_said_and_costs_nothing_more(tmp_path, caplog, does, why) -> None:
    jails.needed()
    found = programs(tmp_path, does)
    with caplog.at_level(logging.WARNING):
        assert await filled(found) is None
    assert list((tmp_path / "compiled").iterdir()) == []
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("pi starts without a compile cache: ")
    assert why in said
    assert (found.cache("pi"), found.compiled._wanted) == (None, {})  # not tried again and again


def test_more_than_a_cache_may_hold_is_thrown_away(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(compiled, "CACHE_BYTES_MAX", 10)
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(CannotFill, match="0 MiB is the most"):
        compiled._check(tmp_path)


async def test_a_daemon_without_a_folder_makes_none() -> None:
    with trio.fail_after(5.0):
        await Compiled().run({})


async def test_agents_get_it_read_only_where_they_have_mounts(tmp_path) -> None:
    """The folder is among those that a jail shows, and in no environment without walls."""
    found = programs(tmp_path)
    assert found.compiled.find(found.find("node"), found.find("pi")) is None
    (name,) = found.compiled._wanted
    cache = tmp_path.resolve() / "compiled" / name
    cache.mkdir(parents=True)
    driver = over(found)["pi"]
    work = compiled._work()
    inside = driver.command(work, {})
    assert inside.programs == (str(tmp_path.resolve() / "there"), str(cache))
    assert inside.env["NODE_COMPILE_CACHE"] == str(cache)
    without = driver.command(dataclasses.replace(work, isolated=False), {})
    assert str(cache) not in without.programs
    assert "NODE_COMPILE_CACHE" not in without.env


def test_openclaw_and_its_gateway_are_told_of_theirs(tmp_path) -> None:
    for name in ("node", "openclaw.mjs"):
        (tmp_path / name).write_text("")
    configured = {"node": str(tmp_path / "node"), "openclaw": str(tmp_path / "openclaw.mjs")}
    found = Programs(None, configured, compiled=tmp_path / "compiled")
    driver, work = over(found)["openclaw"], compiled._work()
    assert "NODE_COMPILE_CACHE" not in json.loads(driver.command(work, {}).env["DASH_OPENCLAW"])["env"]
    cache = tmp_path / "compiled" / next(iter(found.compiled._wanted))
    cache.mkdir(parents=True)
    told = json.loads(driver.command(work, {}).env["DASH_OPENCLAW"])["env"]
    assert told["NODE_COMPILE_CACHE"] == str(cache)
    assert told["OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED"] == "1"  # it would start itself a second time
    gateway = openclaw_gateway.command(found, "/w", {})
    assert gateway.env["NODE_COMPILE_CACHE"] == str(cache)
    assert str(cache) in driver.command(work, {}).programs
    assert str(cache) in gateway.programs
