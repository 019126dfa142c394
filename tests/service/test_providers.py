"""What a provider may be called and where it may be; the rest is in tests/test_model_ports.py."""

import pytest

from dashd.store import providers
from dashd.store.providers import ProviderRow
from dashd.wire import errors

ADD = {"name": "one", "format": "openai-chat", "url": "https://one.example.com/v1", "secret": "sk-1"}


@pytest.mark.parametrize("name", ["../one", "One", "a b", ".one", "offline", "offline-b", "-x"])
async def test_a_name_is_a_files_name(call, name):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("provider.add", **(ADD | {"name": name}))
    assert refused.value.path == "name"


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example.com/v1",
        "http://127.0.0.1.example.com/v1",
        "http://10.0.0.1:8080/v1",
        "ftp://127.0.0.1/v1",
        "https:///v1",
        "https://user:sk-1@one.example.com/v1",
        "https://one.example.com/v1?key=sk-1",
        "http://[::1",
        "http://127.0.0.1:port/v1",
        "127.0.0.1:8080",
        "https://one example.com/v1",
        "https://one.example.com/\0",
        "https://öne.example.com/v1",
        "https://one.example.com/v1/chat/completions",
        "https://one.example.com/v1/messages/",
    ],
)
async def test_an_address_that_would_give_a_key_away_is_refused_and_not_repeated(call, url):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("provider.add", **(ADD | {"url": url}))
    assert refused.value.path == "url"
    assert "sk-1" not in refused.value.message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1", "http://[::1]:1/v1", "http://localhost/v1", "https://one.example.com"]
)
async def test_without_a_proxy_nothing_of_it_is_kept(call, scene, url):
    with pytest.raises(errors.Unsupported):
        await call("provider.add", **(ADD | {"url": url}))
    assert providers.every(scene.db) == []


async def test_what_dash_adds_by_itself_is_named_with_what_to_leave(call):
    with pytest.raises(errors.InvalidParams, match="ends in /chat/completions") as refused:
        await call("provider.add", **(ADD | {"url": "https://one.example.com/v1/chat/completions"}))
    assert refused.value.hint == "leave it out: https://one.example.com/v1"


@pytest.mark.parametrize("model", [" ", "a -> b", "m\0", '{"prefer": "cost"}'])
async def test_a_model_s_name_is_one_that_can_be_called(call, model):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("provider.add", **(ADD | {"models": ["m", model]}))
    assert refused.value.path == "models[1]"


async def test_one_way_to_a_secret(call):
    with pytest.raises(errors.InvalidParams, match="both given"):
        await call("provider.add", **ADD, secret_command=["/bin/echo", "x"])


async def test_what_is_not_there(call):
    assert (await call("provider.list")).providers == []
    for method in ("provider.remove", "provider.test"):
        with pytest.raises(errors.NotFound, match="no provider 'one'"):
            await call(method, name="one")


async def test_a_wrong_name_is_told_the_right_ones(call, scene):
    row = ProviderRow("one", "openai-chat", "https://one.example.com/v1", "none", None, "[]", 0)
    scene.do(lambda tx: providers.put(tx, row))
    for method in ("provider.remove", "provider.test"):
        with pytest.raises(errors.NotFound) as refused:
            await call(method, name="noe")
        assert (refused.value.hint, refused.value.path) == ("providers: one", "name")
    assert providers.every(scene.db) == [row]
