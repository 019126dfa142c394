"""What agents may reach, from flags to parameters and from an answer to words."""

import argparse

from dashctl import reach
from dashd.wire.methods.swarm import CreateSwarm


def parsed(*words: str) -> dict:
    parser = argparse.ArgumentParser()
    reach.arguments(parser)
    return reach.parameters(parser.parse_args(words))


def test_what_is_not_given_is_left_to_dashd():
    assert set(parsed().values()) == {None}


def test_flags_may_be_repeated_and_hosts_be_in_one_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = ["--scope", "src", "--scope", "docs", "--read", "../x"]
    found = parsed(*folders, "--hosts", "npm,a.example", "--hosts", "b.example")
    assert found["scope"] == ["src", "docs"]
    assert found["read"] == [str(tmp_path.parent / "x")]
    assert found["hosts"] == ["npm", "a.example", "b.example"]
    assert found.keys() <= set(CreateSwarm.__struct_fields__)


def test_no_walls_are_asked_for_in_full():
    assert parsed("--unsafe-no-jail")["unsafe_no_jail"] is True


def test_walls_are_shown_and_their_absence_too():
    found = {"walls": "required", "write": ["src"], "read": ["."], "hosts": []}
    assert reach.facts(found) == [("walls", "agents write src, read ., reach no host")]
    assert "all rights" in reach.facts({"walls": "none"})[0][1]


def test_command_patterns_are_handed_on():
    found = parsed("--allow-command", "git *", "--allow-command", "ls", "--deny-command", "rm *")
    assert (found["allow_commands"], found["deny_commands"]) == (["git *", "ls"], ["rm *"])
    assert found.keys() <= set(CreateSwarm.__struct_fields__)


def of_child(*words: str) -> dict:
    parser = argparse.ArgumentParser()
    reach.child_arguments(parser)
    return reach.of_child(parser.parse_args(words))


def test_a_child_is_given_what_was_said_and_nothing_else():
    assert of_child() == {}
    assert of_child("--scope", "src", "--read", "docs", "--hosts", "a.example", "--depth", "0") == {
        "scope": ["src"],
        "read": ["docs"],
        "hosts": ["a.example"],
        "depth": 0,
    }
    assert of_child("--read-only", "--budget", "1.50") == {"scope": [], "budget": 1.5}


def test_a_driver_is_shown_with_its_mode_and_why_it_was_taken():
    assert reach.driver({"driver": "pi", "mode": "", "why_driver": "it was asked for"}) == (
        "pi (it was asked for)"
    )
    assert reach.driver({"driver": "openclaw", "mode": "gateway"}) == "openclaw gateway"


def test_what_its_gateway_must_have_is_handed_on_and_shown():
    assert parsed("--mode", "gateway")["placement"] is None
    words = (
        "--placement",
        "round-robin",
        "--capability",
        "gpu",
        "--region",
        "eu",
        "--gateway-version",
        "2026.9",
    )
    given = parsed(*words)["placement"]
    assert given == {"policy": "round-robin", "capabilities": ["gpu"], "region": "eu", "version": "2026.9"}
    assert parsed("--region", "eu")["placement"] == {"region": "eu"}
    shown = dict(reach.facts({"walls": "none", "placement": given}))
    assert shown["placement"] == "round-robin, able to gpu, in region eu, of version 2026.9 or later"
    assert dict(reach.facts({"walls": "none", "placement": {}}))["placement"] == "least-loaded"
    assert "placement" not in dict(reach.facts({"walls": "none", "placement": None}))
