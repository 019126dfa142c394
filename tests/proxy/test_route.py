"""Who is tried next, and what a failure means; every instant is made up."""

import msgspec
import pytest

from dashd.domain.circuit import Change
from dashd.proxy.prices import OFFLINE_PRICE
from dashd.proxy.registry import Candidate, Provider
from dashd.proxy.route import (
    BACKOFF_S,
    LAST_TRIES_MAX,
    RETRY_AFTER_S_MAX,
    TRIES_MAX,
    Failure,
    Pause,
    Route,
    judge,
    judge_in_band,
    retry_after_s,
)

BROKEN = Failure("retry", "no", 500)


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(Provider(name, "openai-chat"), "m", OFFLINE_PRICE, 100) for name in names]


def route(*names: str, chance: float = 1.0) -> tuple[Route, list[Candidate]]:
    chain = candidates(*names)
    return Route(chain, lambda: chance), chain


def test_one_candidate_is_tried_with_growing_pauses_then_given_up():
    way, (one,) = route("one")
    one.provider.circuits.provider.failures_max = 99
    now, waits = 0.0, []
    for _ in range(LAST_TRIES_MAX):
        assert way.choose(now) is one
        assert way.enter(one, now)
        assert way.failed(one, BROKEN, now) == []
        turn = way.choose(now)
        if isinstance(turn, Pause):
            waits.append(turn.until - now)
            now = turn.until
    assert waits == [BACKOFF_S * 2**n for n in range(LAST_TRIES_MAX - 1)]
    assert way.choose(now + 99) is None


def test_an_earlier_candidate_is_waited_for_a_little_and_not_for_long():
    way, (one, two) = route("one", "two")
    way.failed(one, BROKEN, 0)
    assert way.choose(0) == Pause(BACKOFF_S)
    way.failed(one, Failure("retry", "slow down", 429, retry_after_s=9), BACKOFF_S)
    assert way.choose(BACKOFF_S) is two


def test_the_next_one_has_its_turn_after_the_tries_or_at_once_when_the_circuit_is_open():
    way, (one, two) = route("one", "two")
    one.provider.circuits.provider.failures_max = 99
    for _ in range(TRIES_MAX):
        way.failed(one, BROKEN, 0)
    assert way.choose(0) is two
    other, (first, second) = route("one", "two")
    for _ in range(first.provider.circuits.provider.failures_max):
        first.provider.circuits.failed("m", "provider", 0)
    assert other.choose(0) is second


def test_who_was_silent_is_not_waited_for_again_while_another_is_there():
    way, (one, two) = route("one", "two")
    way.failed(one, Failure("retry", "no answer", waited=True), 0)
    assert way.choose(0) is two
    way.failed(two, Failure("retry", "no answer", waited=True), 0)
    assert way.choose(0) == Pause(BACKOFF_S)


def test_nobody_is_paused_for_beyond_the_time_there_is():
    way, (one, two) = route("one", "two")
    way.failed(one, BROKEN, 0)
    assert way.choose(0, BACKOFF_S) == Pause(BACKOFF_S)
    assert way.choose(0, BACKOFF_S / 2) is two
    way.failed(two, BROKEN, 0)
    assert way.choose(0, BACKOFF_S / 2) is None


def test_all_open_pauses_until_the_first_may_be_probed_by_one():
    way, (one, two) = route("one", "two")
    for each, at in ((one, 5.0), (two, 0.0)):
        each.provider.circuits.provider.opened_at = at
    assert way.choose(6) == Pause(20)
    assert way.choose(20) is two
    assert way.enter(two, 20)
    assert not way.enter(two, 20)
    assert way.succeeded(two) == [Change("closed")]


def test_terminal_freezes_and_next_goes_on():
    way, (one, two, three) = route("one", "two", "three")
    assert way.failed(one, Failure("terminal", "402"), 0) == []
    assert one.provider.frozen == "402"
    assert way.choose(0) is two
    way.failed(two, Failure("next", "404"), 0)
    assert way.choose(0) is three
    way.failed(three, Failure("terminal", "402"), 0)
    assert way.choose(0) is None
    assert way.frozen is None
    two.provider.frozen = "401"
    assert way.frozen == "402"


def test_slow_down_rests_the_provider_and_opens_nothing():
    way, (one,) = route("one")
    for _ in range(LAST_TRIES_MAX):
        assert way.failed(one, Failure("retry", "429", 429, retry_after_s=3), 0) == []
    assert one.provider.circuits.state(0, "m") == "closed"
    assert not one.provider.circuits.admits("m", 2.9)


def test_failures_open_and_an_answer_about_the_call_closes():
    way, (one,) = route("one")
    one.provider.circuits.provider.failures_max = 2
    assert [way.failed(one, BROKEN, 0) for _ in range(2)] == [[], [Change("opened", "m")]]
    assert way.failed(one, Failure("final", "400"), 30) == [Change("closed", "m")]


def test_a_broken_model_leaves_its_sibling_alone_and_is_skipped_at_once():
    provider = Provider("one", "openai-chat")
    broken, sound = (Candidate(provider, name, OFFLINE_PRICE, 100) for name in ("m-500", "m-ok"))
    way, now, tried = Route([broken, sound], lambda: 1.0), 0.0, []
    while (turn := way.choose(now)) is not sound:
        if isinstance(turn, Pause):
            now = turn.until
            continue
        assert turn is broken
        assert way.enter(turn, now)
        tried.append(now)
        way.failed(turn, BROKEN, now)
    assert (len(tried), now < 1) == (TRIES_MAX, True)
    assert Route([broken, sound], lambda: 1.0).choose(now) is sound
    assert provider.circuits.state(now, "m-ok") == "closed"


def test_a_missing_model_is_gone_on_from_at_once_and_proves_that_somebody_is_there():
    provider = Provider("one", "openai-chat")
    missing, sound = (Candidate(provider, name, OFFLINE_PRICE, 100) for name in ("m-404", "m-ok"))
    provider.circuits.provider.open(0)
    way = Route([missing, sound], lambda: 1.0)
    assert way.enter(missing, 20) == "probe"
    assert way.failed(missing, Failure("next", "404", 404), 20) == [Change("closed")]
    assert way.choose(20) is sound


def test_who_is_in_trouble_asks_for_a_rest_of_one_model_and_who_is_asked_too_much_for_all():
    provider = Provider("one", "openai-chat")
    one, two = (Candidate(provider, name, OFFLINE_PRICE, 100) for name in ("m-1", "m-2"))
    Route([one], lambda: 1.0).failed(one, Failure("retry", "503", 503, retry_after_s=5), 0)
    assert (provider.circuits.admits_at("m-1", 0), provider.circuits.admits_at("m-2", 0)) == (5, 0)
    Route([two], lambda: 1.0).failed(two, Failure("retry", "429", 429, retry_after_s=7), 0)
    assert (provider.circuits.admits_at("m-1", 0), provider.circuits.admits_at("m-2", 0)) == (7, 7)


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (500, b"", "retry"),
        (529, b'{"error":{"type":"overloaded_error"}}', "retry"),
        (429, b'{"error":{"type":"rate_limit_error"}}', "retry"),
        (408, b"", "retry"),
        (429, b'{"error":{"code":"insufficient_quota"}}', "terminal"),
        (400, b'{"error":{"message":"Your credit balance is too low"}}', "terminal"),
        (402, b"", "terminal"),
        (401, b"\xff\xfe", "terminal"),
        (404, b"[1]", "next"),
        (400, b'{"error":"bad"}', "final"),
        (413, b"[" * 10_000, "final"),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, what: str):
    failure = judge(status, {}, body)
    assert failure.what == what
    assert failure.why.isprintable()
    assert len(failure.why) < 400


def test_a_reroute_names_who_would_have_had_the_turn_and_why_they_have_not():
    way, (one, two) = route("one", "two")
    assert way.left_for(one) is None
    assert way.left_for(one) is None
    way.failed(one, BROKEN, 0)
    assert way.left_for(two) == (one, "no")
    assert way.left_for(two) is None
    way.failed(two, Failure("retry", "nor here", 500), 0)
    assert way.left_for(one) == (two, "nor here")
    assert route("one", "two")[0].left_for(two) is not None
    one.provider.frozen = "402"
    assert Route([one, two], lambda: 0.5).left_for(two) == (one, "402")


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("Project `proj_1` does not have access to model `gpt-9`", "denied"),
        ("You don't have access to the model with the specified model ID.", "denied"),
        ("The model `m` is blocked at the organization level", "denied"),
        ("model `m` is not available to your team", "denied"),
        ("Your chosen model requires moderation and your input was flagged", "final"),
        ("Your API key does not have permission to use the specified resource", "terminal"),
        ("You have insufficient permissions for this operation. Missing scopes: model.request", "terminal"),
        ("Country, region, or territory not supported", "terminal"),
        ("billing: your account has no access to model m until it is paid", "terminal"),
        ("", "terminal"),
    ],
)
def test_whose_a_403_is(message: str, what: str):
    body = b'{"error": {"message": "%s"}}' % message.encode()
    assert judge(403, {}, body).what == what
    assert judge(401, {}, body).what == "terminal"


def test_no_access_to_a_model_freezes_nobody_and_its_sibling_has_its_turn():
    (one,) = candidates("one")
    sibling = msgspec.structs.replace(one, model="n")
    way = Route([one, sibling], lambda: 0.5)
    changes = way.failed(one, Failure("denied", "403", 403), 0)
    assert [(each.to, each.model) for each in changes] == [("opened", one.model)]
    assert one.provider.frozen is None
    assert way.choose(0) is sibling
    assert Route([one, sibling], lambda: 0.5).choose(1) is sibling


def test_what_an_error_in_a_stream_means():
    assert judge_in_band("overloaded_error").blames == "model"
    assert judge_in_band("insufficient_quota").what == "terminal"
    assert judge_in_band("rate_limit_error").blames is None


def test_whose_failure_it_is():
    assert Failure("retry", "refused", reached=False).blames == "provider"
    assert Failure("retry", "no answer", waited=True).blames == "model"
    assert judge(500, {}, b"").blames == "model"
    assert [judge(status, {}, b"").blames for status in (429, 404, 400, 402)] == [None] * 4


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "100000"}, RETRY_AFTER_S_MAX),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    assert retry_after_s(headers) == seconds
