"""Mistakes on the command line are answered with what was meant."""

import argparse

import pytest

from dashctl import commands, grammar
from dashctl.commands import agent as agent_commands
from dashctl.commands import swarm as swarm_commands
from dashctl.commands import task as task_commands
from dashd.wire import events, methods
from dashd.wire.methods import table

EVERY = [
    *((word,) for word in commands.WORDS),
    *((noun, verb) for noun in commands.NOUNS for verb in commands.of_module(noun)),
]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["swrm", "list"], "there is no command 'dashctl swrm'; did you mean 'swarm'?"),
        (["swarm", "lst"], "there is no command 'dashctl swarm lst'; did you mean 'list'?"),
        (["swarm", "list", "--limt", "3"], "there is no option '--limt'; did you mean '--limit'?"),
        (["swarm", "list", "--lim", "3"], "there is no option '--lim'; did you mean '--limit'?"),
        (["agent", "list", "--status", "runing"], "--status cannot be 'runing'; did you mean 'running'?"),
        (["swarm", "create", "x", "--timeout", "5x"], "'5x' is not a duration"),
        (["swarm", "create", "x", "--agents", "-3"], "'-3' is not a whole number"),
        (["swarm", "create", "x", "--agents", "many"], "'many' is not a whole number"),
        (["swarm", "create"], "TASK"),
        (["swarm", "create", "x", "--"], "after -- there must be a command"),
        (["swarm", "get", "a", "b"], "'b' is more than this command takes"),
        (["agent", "kill"], "AGENT"),
        (["--nope"], "there is no option '--nope' here"),
        (["swarm", "--nope"], "there is no option '--nope' here"),
        (["status", "now"], "'now' is more than this command takes"),
    ],
)
def test_mistakes_exit_2_and_say_what_was_meant(ctl, argv: list[str], said: str):
    ran = ctl(*argv)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert ran.out == ""


def test_a_mistake_has_a_hint_and_in_json_is_one_object(ctl):
    assert "hint: dashctl swarm list --help" in ctl("swarm", "list", "--nope").err
    ran = ctl("swarm", "list", "--nope", "--json")
    assert ran.err.startswith('{"error": {')
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help(words, capsys: pytest.CaptureFixture[str], ctl):
    _, command, rest = commands.find(words)
    assert command is not None
    assert rest == []
    assert command.summary
    if not command.passes_on:
        assert ctl(*words, "--help").code == 0
        assert capsys.readouterr().out.startswith(f"usage: dashctl {' '.join(words)}")


def test_help_fits_a_small_terminal_and_names_every_command(ctl):
    text = ctl().out
    assert text == ctl("--help").out
    assert all(len(line) <= 80 for line in text.splitlines())
    for words in EVERY:
        assert words[0].startswith("_") or words[-1] in text


def test_a_noun_alone_says_its_verbs(ctl):
    ran = ctl("swarm")
    assert ran.code == 0
    assert all(verb in ran.out for verb in commands.of_module("swarm"))


@pytest.mark.parametrize(
    "argv",
    [["--json", "swarm", "get", "s"], ["swarm", "--json", "get", "s"], ["swarm", "get", "s", "--json"]],
)
def test_global_options_stand_anywhere(argv: list[str]):
    words, command, rest = commands.find(argv)
    assert words == ("swarm", "get")
    args = grammar.parse(words, command, rest)
    assert args.json
    assert args.swarm == "s"


def test_options_may_stand_between_ids():
    words, command, rest = commands.find(["agent", "kill", "a", "--requeue", "b", "--socket=/x"])
    args = grammar.parse(words, command, rest)
    assert (args.agents, args.requeue, args.socket) == (["a", "b"], True, "/x")


def test_what_follows_two_dashes_is_the_agents_command():
    words, command, rest = commands.find(
        ["swarm", "create", "t", "-a", "2", "--", "sh", "-c", "--json", "--"]
    )
    args = grammar.parse(words, command, rest)
    assert args.argv == ["sh", "-c", "--json", "--"]
    assert (args.task, args.agents, args.json) == ("t", 2, False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172800), ("500ms", 0.5), ("0", 0)],
)
def test_durations(text: str, seconds: float):
    assert grammar.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "1w", "nan", "inf", "1e999", "5 m", "²"])
def test_no_durations(text: str):
    with pytest.raises(argparse.ArgumentTypeError):
        grammar.duration_s(text)


def test_choices_are_those_of_the_wire():
    assert table.Priority.__args__ == swarm_commands.PRIORITIES
    assert table.Strategy.__args__ == swarm_commands.STRATEGIES
    assert table.SwarmState.__args__ == swarm_commands.STATES
    assert table.AgentState.__args__ == agent_commands.STATES
    assert table.TaskState.__args__ == task_commands.STATES


def test_every_method_for_people_has_a_command():
    """`swarm.get` is `dashctl swarm get`: one word per idea."""
    for name in methods.METHODS:
        noun, verb = name.split(".")
        if noun in commands.NOUNS:
            assert verb.replace("_", "-") in commands.of_module(noun), name


def test_attention_is_what_the_wire_calls_so():
    from dashctl import waiting

    assert set(waiting.SWARM_ATTENTION) == events.ATTENTION | {"swarm.destroyed"}
    assert {*waiting.AGENT_ENDS, *waiting.SWARM_ENDS} < events.KINDS
