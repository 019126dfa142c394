"""Hints name commands where dashd named methods."""

import pytest

from dashctl import wording


@pytest.mark.parametrize(
    ("text", "reworded"),
    [
        ("swarm.list shows ended ones", "dashctl swarm list shows ended ones"),
        ("agent.get 7k2m9q-001 says why", "dashctl agent get 7k2m9q-001 says why"),
        ("daemon.status, then event.list", "dashctl status, then dashctl events"),
        ("open README.md or swarm.unheard", "open README.md or swarm.unheard"),
    ],
)
def test_rewording(text: str, reworded: str):
    assert wording.for_person(text) == reworded
