"""The victim of the workspace tests: one agent's work from the first edit to its removal, step after step.

Run as `python -m tests.crash.work FOLDER AGENT`; FOLDER is that of a `World`. It says the name of each step
that begins, and `done` at the end, after which it waits; whoever started it kills it anywhere between.
"""

import os
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from dashd.jail import tool
from dashd.workspace import bundle, clone, git, land, merge, place, removal, salvage, source
from dashd.workspace.errors import GitFailed
from dashd.workspace.place import Workspace
from tests.workspace.world import AT_MS, World, picture

TARGET = "refs/heads/dash/s1/result"
MAIN = "refs/heads/main"
STEPS = ("clone", "edit", "commit", "bundle", "merge", "land", "salvage", "remove")
Say = Callable[[str], None]


def nobody(_step: str) -> None:
    """Tells nobody which step begins."""


async def work(world: World, agent: str, say: Say = nobody) -> None:
    """All steps for one agent."""
    say("clone")
    found = await source.inspect(world.repo)
    base = (await source.resolve_base(found, "HEAD")).commit
    made = await clone.create(world.root, found, swarm="s1", agent=agent, base=base)
    say("edit")
    edit(world, made, agent)
    say("commit")
    await commit(made)
    edit(world, made, f"{agent} again")
    await finish(world, made, say)


async def finish(world: World, made: Workspace, say: Say = nobody) -> None:
    """The steps from a workspace that is there to its removal."""
    say("bundle")
    done = await bundle.bring_back(made)
    say("merge")
    await merge.merge(
        world.root,
        made.source,
        key=made.agent,
        commit=done.commit,
        target=TARGET,
        start=made.base,
        at_ms=AT_MS,
    )
    result = await source.read_ref(made.source, TARGET)
    assert result is not None
    say("land")
    await land.land(world.root, made.source, branch=MAIN, commit=result)
    say("salvage")
    await salvage.salvage(made, at_ms=AT_MS)
    remember(world, made)
    say("remove")
    await removal.remove(made)


def edit(world: World, made: Workspace, seed: str) -> None:
    """Some files of every kind, as an agent writes them."""
    chance = random.Random(seed)
    for _ in range(20):
        name = b"%s-%d%s" % (
            made.agent.encode(),
            chance.randrange(40),
            chance.choice([b"", b"\xff", b" x", b"\n"]),
        )
        world.put(name, chance.randbytes(chance.randrange(1, 20_000)), within=made.path)
    world.put(f"lib-{made.agent}/.git/config", chance.randbytes(30), within=made.path)


async def commit(made: Workspace) -> None:
    """What an agent does in its own jail; a git of it that was killed has left its locks."""
    unlock = "find .git -name '*.lock' -delete"
    script = f"{unlock} && git add -- ':(exclude)lib-*' . && git commit -q --allow-empty -m work"
    job = tool.Tool(
        argv=("sh", "-c", script), cwd=made.path, env=git.ENVIRONMENT, read=made.source.objects,
        write=(made.path,), deadline_s=60, output_bytes_max=10_000,
    )  # fmt: skip
    done = await tool.run(job)
    if done.code:
        raise GitFailed(git.reason(done))


def remember(world: World, made: Workspace) -> None:
    """Writes down what is about to be removed, for the judge."""
    place.write_durably(world.folder / f"{made.agent}.picture", pickle.dumps(picture(made.path)))


def main() -> None:
    """Says when it begins, so that the time of an interpreter's start is not what is killed."""
    world, agent = World(Path(sys.argv[1])), sys.argv[2]
    trio.run(work, world, agent, lambda step: os.write(1, step.encode() + b"\n"))
    os.write(1, b"done\n")
    os.read(0, 1)


if __name__ == "__main__":
    main()
