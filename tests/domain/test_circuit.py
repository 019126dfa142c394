"""The circuit, as a table of instants."""

from dashd.domain.circuit import PROBE_S, Circuit


def opened(at: float = 0.0) -> Circuit:
    circuit = Circuit(failures_max=3, open_s=20)
    assert [circuit.failed(at) for _ in range(3)] == [False, False, True]
    return circuit


def test_it_opens_after_failures_in_a_row():
    circuit = Circuit(failures_max=2)
    assert not circuit.failed(0)
    assert not circuit.succeeded()
    assert not circuit.failed(1)
    assert circuit.admits(1)
    assert circuit.failed(2)
    assert circuit.state(2) == "open"
    assert not circuit.admits(2)


def test_half_open_lets_one_through_and_success_closes_it():
    circuit = opened()
    assert not circuit.admits(19.9)
    assert circuit.admits_at(5) == 20
    assert circuit.admits(20)
    assert circuit.state(20) == "half-open"
    assert not circuit.admits(20)
    assert circuit.admits_at(20) == 20 + PROBE_S
    assert circuit.succeeded()
    assert circuit.state(20) == "closed"
    assert circuit.admits(20)


def test_a_failed_probe_opens_it_again_without_saying_so_twice():
    circuit = opened()
    assert circuit.admits(20)
    assert not circuit.failed(20)
    assert circuit.state(39.9) == "open"
    assert circuit.admits(40)


def test_a_probe_that_learnt_nothing_lets_another_probe():
    circuit = opened()
    assert circuit.admits(20)
    circuit.withdrew()
    assert circuit.admits(20)


def test_late_failures_of_calls_from_before_do_not_prolong_it():
    circuit = opened()
    assert not circuit.failed(10)
    assert circuit.admits_at(10) == 20


def test_a_rest_is_kept_and_opens_nothing():
    circuit = Circuit()
    circuit.rest(5)
    circuit.rest(3)
    assert circuit.state(0) == "closed"
    assert not circuit.admits(4.9)
    assert circuit.admits_at(0) == 5
    assert circuit.admits(5)
