"""Composition around models: what configuration becomes; the rest is in tests/test_app.py and tests/whole."""

from dashd import model_side
from dashd.config import ProxyConfig
from dashd.proxy.rates import Limits


def test_no_limit_is_nought_in_the_configuration_and_nothing_in_the_proxy():
    assert model_side.agents_limits(ProxyConfig()) == model_side.keys_limits(ProxyConfig()) == Limits()


def test_agents_and_keys_have_limits_of_their_own():
    told = ProxyConfig(
        requests_per_minute=1,
        tokens_per_minute=2,
        requests_per_day=3,
        tokens_per_day=4,
        key_requests_per_minute=5,
        key_tokens_per_minute=6,
        key_requests_per_day=7,
        key_tokens_per_day=8,
    )
    assert model_side.agents_limits(told) == Limits(
        requests_per_minute=1, tokens_per_minute=2, requests_per_day=3, tokens_per_day=4
    )
    assert model_side.keys_limits(told) == Limits(
        requests_per_minute=5, tokens_per_minute=6, requests_per_day=7, tokens_per_day=8
    )
