"""Gateways that somebody added, as a whole dashd is tested with them: stand-ins, and swarms in them."""

import json
from pathlib import Path

import trio

from tests.fakes.standing_gateway import TOKEN, Standing
from tests.whole.door import Door

UNTIL_GO = "until [ -e go ]; do sleep 0.05; done"
"""What a tool waits with, in the folder of its swarm."""


class Fleet:
    """Gateways, by name."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.standing: dict[str, Standing] = {}

    async def add(self, dash: Door, *names: str, **more) -> None:
        for name in names:
            made = self.standing[name] = Standing(self.folder, name)
            given = {"name": name, "url": made.url, "token": TOKEN, "unsafe_no_jail": True} | more
            await dash.call("gateway.add", **given)
            assert (await dash.call("gateway.health", name=name))["ok"]

    def told(self, name: str) -> dict:
        """The configuration of one, as it is on its disk."""
        return json.loads(self.standing[name].config.read_text())

    def is_clean(self, name: str) -> bool:
        """Nothing of Dash's is in it."""
        told = self.told(name)
        return told["agents"]["entries"] == {} and not told.get("models", {}).get("providers")

    def sessions(self, name: str) -> dict[str, list[str]]:
        """What Dash has said in each session of one, but those that only warm an agent."""
        held, _ = json.loads(Path(f"{self.standing[name].config}.sessions").read_text())
        return {
            key: [each["content"] for each in messages if each["role"] == "user"]
            for key, messages in held.items()
        }

    def working(self, name: str) -> dict[str, str]:
        """The sessions of one in which something works, as it has written down."""
        _, working = json.loads(Path(f"{self.standing[name].config}.sessions").read_text())
        return working

    async def cleaned(self) -> None:
        with trio.fail_after(30):
            while not all(self.is_clean(name) for name in self.standing):  # noqa: ASYNC110  # no bell
                await trio.sleep(0.05)

    def end(self) -> None:
        for each in self.standing.values():
            each.kill()


async def new_swarm(dash: Door, task: str, folder, **more) -> str:
    given = {
        "task": task,
        "cwd": str(folder),
        "driver": "openclaw",
        "mode": "gateway",
        "unsafe_no_jail": True,
    }
    made = await dash.call("swarm.create", **(given | more))
    dash.swarms.append(made["id"])
    return made["id"]


async def place_of(dash: Door, agent: str) -> str:
    return (await dash.call("agent.get", agent=agent))["gateway"]


async def places_of(dash: Door, swarm: str) -> dict[str, str]:
    """Item to gateway."""
    tasks = (await dash.call("task.list", swarm=swarm))["items"]
    return {task["item"]: await place_of(dash, task["agent"]) for task in tasks}


async def marked(folder, marks: str = "x\n") -> None:
    with trio.fail_after(30):
        while not (folder / "marks").exists() or (folder / "marks").read_text() != marks:  # noqa: ASYNC110
            await trio.sleep(0.02)  # a file rings no bell
