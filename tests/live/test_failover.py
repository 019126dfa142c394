"""A model goes down under a real program: the proxy asks another provider, and the program sees nothing."""

import pytest
import trio

from tests.fakes.provider import MODEL, Act, Provider, open_provider
from tests.live.scenes import DONE, acts, result, scene, tokens

pytestmark = pytest.mark.live

WITHIN_S_MAX = 1.0
SHELLS = {"pi": "bash", "openclaw": "exec"}


@pytest.fixture(params=["pi", "openclaw", "openclaw in a gateway"])
def driver(request) -> str:
    return request.param.partition(" ")[0]


@pytest.fixture
def more(request) -> dict[str, str]:
    return {"mode": "gateway"} if "gateway" in request.node.callspec.params["driver"] else {}


@pytest.fixture
def agent_environ(request, driver) -> dict[str, str]:
    return request.getfixturevalue(f"{driver}_environ")


class Timed(Provider):
    """Knows when it was called."""

    def __init__(self, *found: Act) -> None:
        super().__init__(acts(*found))
        self.called_at: list[float] = []
        self.on_call = self._note

    async def _note(self) -> None:
        self.called_at.append(trio.current_time())


async def test_another_answers_within_a_second_and_it_is_one_conversation(
    start_daemon, tmp_path, driver, more
) -> None:
    tool = Act(text="I look.", tool=(SHELLS[driver], {"command": "echo x >> marks"}))
    down, up = Timed(tool, Act(status=500, bills=False)), Timed(DONE)
    async with scene(start_daemon(), tmp_path, down, driver=driver, within_s=400.0) as on, open_provider(up):
        other = {"name": "p1", "format": "openai-chat", "url": up.url, "models": [MODEL]}
        await on.dash.call("provider.add", **other)
        swarm = await on.swarm(**more)
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        assert (tmp_path / "marks").read_text() == "x\n"
        assert up.calls == 1
        assert up.called_at[0] - down.called_at[1] < WITHIN_S_MAX
        (failover,) = await on.dash.events(swarm, "model.failover")
        assert (failover["data"]["from"], failover["data"]["to"]) == (f"p0/{MODEL}", f"p1/{MODEL}")
        told = [message["role"] for message in up.bodies[0]["messages"]]
        assert (told.count("assistant"), told.count("tool")) == (1, 1)
        node, rows = await on.settled(swarm), await on.calls(swarm)
        confirmed = [row for row in rows if row["confirmed"]]
        assert tokens(confirmed) == [(each.input, each.output) for each in (*down.billed, *up.billed)]
        assert round(sum(row["usd"] for row in confirmed) * 1e9) == down.bill_nusd + up.bill_nusd
        # Nobody knows whether a provider that fails bills for it: that is shown apart.
        assert {row["provider"] for row in rows if not row["confirmed"]} == {"p0"}
        assert node["unconfirmed_usd"] == pytest.approx(
            node["spent_usd"] - sum(row["usd"] for row in confirmed)
        )
