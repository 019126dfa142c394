"""What cannot be got done at the moment."""

from dashd.runtime.trouble import Trouble


def test_every_change_is_told_once() -> None:
    trouble = Trouble()
    ticket = trouble.ticket()
    trouble.clear()
    assert not ticket.is_set()
    trouble.say("the disk is full")
    assert ticket.is_set()
    ticket = trouble.ticket()
    trouble.say("the disk is full")
    assert not ticket.is_set()
    trouble.say("the disk is fuller")
    assert ticket.is_set()
    ticket = trouble.ticket()
    trouble.clear()
    assert (trouble.text, ticket.is_set()) == ("", True)
