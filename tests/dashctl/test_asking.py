"""Who is asked before something that runs is ended."""

import pytest

from dashctl import asking, calling


def confirm(out, *, yes: bool = False) -> None:
    asking.confirm(out, "End it?", yes=yes, refusal="this would end it", hint="x --yes")


def test_a_script_has_to_say_yes(output):
    confirm(output(), yes=True)
    with pytest.raises(calling.UsageError, match="needs --yes") as refused:
        confirm(output())
    assert refused.value.exit_code == 2


def test_a_person_is_asked(output):
    out = output(80)
    out.stdin.write("y\n")
    out.stdin.seek(0)
    confirm(out)
    assert "End it? [y/N]" in out._stderr.getvalue()
    with pytest.raises(calling.Failure, match="did not say yes") as declined:
        confirm(output(80))
    assert declined.value.exit_code == 1


def test_counts():
    assert asking.live_agents({"running": 2, "paused": 1, "spawning": 1, "idle": 5, "failed": 9}) == 4
    assert (asking.plural(1, "agent"), asking.plural(20, "agent")) == ("1 agent", "20 agents")
