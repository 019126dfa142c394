"""Who is let in."""

from dashd.proxy.caller import Caller
from dashd.proxy.door import Door, digest
from dashd.proxy.ledger import Payer


def test_a_door_knows_its_keys_and_nobody_else_s():
    payer = Payer("a-1", "a", "a-1")
    door = Door(payer, "pi", ["one", "two"])
    found = door.find("one")
    assert found is not None
    assert found is door.find("two")
    assert (found.payer, found.style) == (payer, "pi")
    assert door.find("") is None
    assert door.find("on") is None
    assert door.find("ONE") is None


def test_a_gateway_s_door_tells_its_agents_apart_and_a_revoked_key_is_a_stranger():
    door = Door(None, "openclaw")
    first, second = (Caller(Payer(f"a-{n}", "a", f"a-{n}"), "openclaw") for n in range(2))
    door.admit(digest("k0"), first)
    door.admit(digest("k1"), second)
    assert door.find("k1") is second
    assert door.callers() == [first, second]
    assert door.revoke(digest("k1"))
    assert not door.revoke(digest("k1"))
    assert door.find("k1") is None
    assert door.find("k0") is first


def test_whoever_opens_the_door_names_the_hosts_and_none_is_the_default():
    payer = Payer("a-1")
    for door, hosts in (
        (Door(payer, "pi", ["k"]), ()),
        (Door(payer, "pi", ["k"], hosts=["a.example"]), ("a.example",)),
    ):
        assert [caller.hosts for caller in door.callers()] == [hosts]


def test_a_caller_s_tunnels_end_with_its_last_key_and_not_with_an_equal_caller_s():
    door = Door(None, "pi")
    first, second = (Caller(Payer("a-1"), "pi") for _ in range(2))
    door.admit(digest("k0"), first)
    door.admit(digest("k1"), first)
    door.admit(digest("k2"), second)
    said: list[str] = []
    first.traffic.ends.add(said.append)
    door.revoke(digest("k0"))
    assert (said, first.traffic.shut) == ([], False)
    door.revoke(digest("k1"))
    assert (said, first.traffic.shut) == (["revoked"], True)
    assert not second.traffic.shut


def test_a_key_is_not_kept():
    door = Door(Payer("a"), "outside", ["s3cret"])
    assert "s3cret" not in repr(vars(door))
