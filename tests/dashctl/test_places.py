"""What the commands of gateways and instances share; each of them is tried in its own file too."""

import pytest

from dashctl import places
from dashctl.commands import gateway as gateway_commands
from dashctl.commands import instance as instance_commands
from dashd.wire.methods import gateway, instance

DRAINED = {"gateway": gateway.GatewayDrained, "instance": instance.InstanceDrained}


@pytest.mark.parametrize("noun", ["gateway", "instance"])
@pytest.mark.parametrize(
    ("flags", "running", "code"),
    [
        ((), ["a-001"], 0),
        (("--wait",), ["a-001"], 1),
        (("--wait", "5s"), [], 0),
        (("--off", "--wait"), [], 2),
    ],
)
def test_a_drain_says_by_its_exit_code_whether_it_is_over(dashd, ctl, noun, flags, running, code):
    dashd.on(f"{noun}.drain", DRAINED[noun](name="x", changed=True, running=running))
    assert ctl(noun, "drain", "x", *flags).code == code


def test_both_have_the_same_verbs():
    assert set(gateway_commands.COMMANDS) == set(instance_commands.COMMANDS)


@pytest.mark.parametrize("noun", ["gateway", "instance"])
def test_where_there_is_none_to_be_asked_that_is_said(dashd, ctl, noun):
    none = {"gateway": gateway.GatewayList(gateways=[]), "instance": instance.InstanceList(instances=[])}
    dashd.on(f"{noun}.list", none[noun])
    ran = ctl(noun, "health")
    assert (ran.code, ran.out) == (0, f"There is no {noun}.\n")
    assert ctl(noun, "health", "--json").out == "[]\n"


def test_what_it_can_do_and_where_it_is():
    assert places.can({"capabilities": ["gpu", "big"], "region": "eu"}) == "gpu big eu"
    assert places.can({"capabilities": [], "region": None}) == ""
