"""The circuit, as a table of instants."""

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.circuit import PROBE_S, Change, Circuit, Circuits


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


def test_who_probes_is_told_so():
    circuits = Circuits()
    assert circuits.admits("m", 0) == "call"
    circuits.provider.open(0)
    assert circuits.admits("m", 19.9) is None
    assert circuits.admits("m", 20) == "probe"
    assert circuits.admits("m", 20) is None
    assert circuits.admits_at("n", 20) == 20 + PROBE_S


def broken(circuits: Circuits, *models: str, at: float = 0.0) -> list[Change]:
    return [change for model in models for _ in range(3) for change in circuits.failed(model, "model", at)]


def test_one_broken_model_is_left_alone_and_its_siblings_are_not():
    circuits = Circuits()
    assert broken(circuits, "m-500") == [Change("opened", "m-500")]
    assert circuits.admits("m-500", 1) is None
    assert circuits.admits("m-ok", 1) == "call"
    assert circuits.succeeded("m-ok") == []
    assert (circuits.state(1), circuits.state(1, "m-500")) == ("closed", "open")
    assert circuits.admits("m-500", 20) == "probe"
    assert circuits.succeeded("m-500") == [Change("closed", "m-500")]
    assert circuits.models == {}


def test_two_broken_models_with_nothing_well_between_are_a_broken_provider():
    circuits = Circuits()
    assert broken(circuits, "a", "b") == [Change("opened", "a"), Change("opened", "b"), Change("opened")]
    assert circuits.admits("c", 1) is None
    assert circuits.admits("c", 20) == "probe"
    assert circuits.succeeded("c") == [Change("closed")]
    assert circuits.state(20, "a") == "half-open"


def test_two_broken_models_with_something_well_between_are_two_broken_models():
    circuits = Circuits()
    broken(circuits, "a")
    circuits.succeeded("c")
    assert broken(circuits, "b") == [Change("opened", "b")]
    assert circuits.admits("c", 1) == "call"


def test_who_is_not_reached_has_failed_as_a_provider_whatever_was_asked_of_it():
    circuits = Circuits()
    changes = [circuits.failed(model, "provider", 0) for model in ("a", "b", "c")]
    assert changes == [[], [], [Change("opened")]]
    assert circuits.models == {}
    assert circuits.admits("d", 1) is None


def test_a_broken_model_s_probe_does_not_keep_a_provider_from_its_other_models():
    """Whoever probes both fails for itself alone; a model that nobody has tried has its turn next."""
    circuits = Circuits()
    broken(circuits, "a", "b")
    assert circuits.admits("a", 20) == "probe"
    assert circuits.failed("a", "model", 21) == []
    assert circuits.admits("a", 21) is None
    assert circuits.admits("c", 21) == "probe"


def test_a_rest_is_the_model_s_or_the_provider_s():
    circuits = Circuits()
    circuits.rest("a", "model", 5)
    assert (circuits.admits("a", 1), circuits.admits("b", 1)) == (None, "call")
    circuits.rest("a", "provider", 7)
    assert circuits.admits_at("b", 1) == 7


def test_a_silent_probe_is_short_and_each_one_that_fails_makes_the_next_one_longer():
    circuits = Circuits()
    broken(circuits, "m")
    waits = []
    for probe in range(1, 6):
        waits.append(circuits.probe_s("m", 10, 120, usual_s=0))
        assert circuits.admits("m", probe * 20) == "probe"
        circuits.failed("m", "model", probe * 20)
    assert waits == [10, 20, 40, 80, 120]
    circuits.succeeded("m")
    broken(circuits, "m")
    assert circuits.probe_s("m", 10, 120, usual_s=0) == 10
    assert circuits.probe_s("m", 10, 120, usual_s=15) == 45
    assert circuits.probe_s("m", 10, 120, usual_s=99) == 120


def test_a_model_without_access_opens_at_once_and_tells_nothing_of_its_provider():
    circuits = Circuits()
    for model in ("a", "b", "c"):
        assert circuits.denied(model, 0) == [Change("opened", model)]
    assert [circuits.state(1), circuits.state(1, "a"), circuits.state(1, "d")] == ["closed", "open", "closed"]
    assert circuits.admits("a", 20) == "probe"
    assert circuits.denied("a", 21) == []
    assert [circuits.admits_at("a", 22), circuits.admits("d", 22)] == [41, "call"]
    assert circuits.admits("a", 41) == "probe"
    assert circuits.succeeded("a") == [Change("closed", "a")]


def test_who_was_looked_after_begins_anew():
    circuits = Circuits()
    broken(circuits, "a", "b")
    circuits.reset()
    assert circuits == Circuits()


@given(
    st.lists(
        st.tuples(st.sampled_from(["failed", "unreached", "succeeded"]), st.sampled_from("abc")), max_size=60
    )
)
def test_a_model_that_always_comes_through_is_closed_out_by_nothing_but_its_provider(steps):
    """It is called after each step and is always well: siblings that only fail never close it out."""
    circuits = Circuits()
    for now, (step, model) in enumerate(steps):
        if step == "failed":
            circuits.failed(model, "model", now)
        elif step == "succeeded":
            circuits.succeeded(model)
        else:
            circuits.failed(model, "provider", now)
            circuits.answered()  # the next call reaches it
        assert circuits.admits("ok", now) == "call"
        circuits.succeeded("ok")
        assert circuits.broken == set()


def test_a_provider_is_as_well_as_the_best_of_its_models():
    circuits = Circuits()
    broken(circuits, "a")
    assert (circuits.best(1, ["a"]), circuits.best(1, ["a", "b"]), circuits.best(1, [])) == (
        "open",
        "closed",
        "closed",
    )
    assert circuits.best(20, ["a"]) == "half-open"
    circuits.provider.open(20)
    assert circuits.best(20, ["a", "b"]) == "open"
