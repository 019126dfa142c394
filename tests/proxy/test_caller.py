"""The defaults a call lives by."""

from dashd.proxy.caller import Caller, Patience
from dashd.proxy.ledger import Payer


def test_one_wait_lies_inside_the_other():
    patience = Patience()
    assert patience.idle_s < patience.first_byte_s < patience.whole_s < patience.total_s
    assert patience.drain_s < patience.idle_s
    assert patience.line_s < patience.held_s


def test_a_caller_has_no_model_or_rates_of_its_own_until_somebody_says_so():
    caller = Caller(Payer("a"), "outside")
    assert (caller.model, caller.rates, caller.held_s) == (None, None, None)
