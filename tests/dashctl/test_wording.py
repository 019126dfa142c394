"""Hints name commands where dashd named methods."""

import pytest

from dashctl import wording


@pytest.mark.parametrize(
    ("text", "reworded"),
    [
        ("swarm.list shows ended ones", "dashctl swarm list shows ended ones"),
        ("agent.get 7k2m9q-001 says why", "dashctl agent get 7k2m9q-001 says why"),
        ("daemon.status, then event.list", "dashctl status, then dashctl events"),
        (
            "key.list shows them; model.set m, provider.add",
            "dashctl key list shows them; dashctl model set m, dashctl provider add",
        ),
        ("agent.set_model a-1 cheap", "dashctl agent set-model a-1 cheap"),
        ("proxy.bodies and model.unheard stay", "proxy.bodies and model.unheard stay"),
        (
            "swarm.create with agent_budget: 0.0620, or agents: 5",
            "dashctl swarm create --agent-budget 0.0620, or --agents 5",
        ),
        ("a path with a: colon or two: words", "a path with a: colon or two: words"),
        ("open README.md or swarm.unheard", "open README.md or swarm.unheard"),
    ],
)
def test_rewording(text: str, reworded: str):
    assert wording.for_person(text) == reworded
