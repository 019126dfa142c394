"""What is wanted of a running attempt."""

from dashd.runtime.wish import Wish


def test_a_stop_is_final_and_the_first_one_wins() -> None:
    wish = Wish()
    wish.set(stop="kill", hold=False)
    wish.set(stop="cancel", hold=True)
    wish.set(stop=None, hold=False)
    assert (wish.stop, wish.hold) == ("kill", False)


def test_it_rings_for_what_is_new_alone() -> None:
    wish = Wish()
    ticket = wish.ticket()
    wish.set(stop=None, hold=False)
    assert not ticket.is_set()
    wish.set(stop=None, hold=True)
    assert ticket.is_set()
    ticket = wish.ticket()
    wish.set(stop=None, hold=True)
    assert not ticket.is_set()
    wish.ring()
    assert ticket.is_set()


def test_whoever_speaks_first_is_known() -> None:
    wish = Wish()
    assert not wish.told
    wish.set(stop=None, hold=False)
    assert wish.told


def test_that_it_waits_for_a_yes_is_news() -> None:
    wish = Wish()
    wish.set(stop=None, hold=False)
    ticket = wish.ticket()
    wish.set(stop=None, hold=False, waits=True)
    assert (ticket.is_set(), wish.waits) == (True, True)
    ticket = wish.ticket()
    wish.set(stop=None, hold=False, waits=True)
    assert not ticket.is_set()
