"""Events are capped, and counts are carried."""

from dashd.domain.budget import NUSD
from dashd.proxy.ledger import Payer
from dashd.proxy.prices import OFFLINE_PRICE
from dashd.proxy.registry import Candidate, Provider
from dashd.proxy.reports import SUBJECTS_MAX, Reports
from dashd.store.holds import Settlement

ONE, TWO = (Candidate(Provider(name, "openai-chat"), "m", OFFLINE_PRICE, 100) for name in ("one", "two"))
SETTLED = Settlement(NUSD // 2, 10, "usage")


def test_one_call_a_second_and_agent_with_the_counts_of_the_others():
    reports = Reports()
    mine, other = Payer("b", "s", "a-1"), Payer("b", "s", "a-2")
    (first,) = reports.call(0.0, mine, ONE, SETTLED, 0.25)
    assert first.kind == "model.call"
    assert (first.data["calls"], first.data["cost"], first.data["took_ms"]) == (1, 0.5, 250)
    assert reports.call(0.5, mine, ONE, SETTLED, 0.25) == []
    assert len(reports.call(0.5, other, ONE, SETTLED, 0.25)) == 1
    (second,) = reports.call(1.0, mine, ONE, SETTLED, 0.25)
    assert (second.data["calls"], second.data["tokens"], second.data["cost"]) == (2, 20, 1.0)


def test_failovers_are_capped_by_their_two_ends():
    reports = Reports()
    assert len(reports.failover(0.0, ONE, TWO, "down")) == 1
    assert reports.failover(0.1, ONE, TWO, "down") == []
    assert len(reports.failover(0.1, TWO, ONE, "down")) == 1
    (told,) = reports.failover(2.0, ONE, TWO, "w" * 999)
    assert told.data["calls"] == 2
    assert len(told.data["why"]) == 200


def test_the_counts_are_bounded():
    reports = Reports()
    for number in range(SUBJECTS_MAX + 10):
        reports.call(0.0, Payer(f"b{number}"), ONE, SETTLED, 0.0)
    assert len(reports._calls) == SUBJECTS_MAX
