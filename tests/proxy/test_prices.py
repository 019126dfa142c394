"""The price list as the daemon has it: the operator's own prices, and the same answers as the package's."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashd.domain.prices import Price
from dashd.proxy import price_export, prices
from dashd.proxy.prices import PriceList
from dashd.wire import errors


@pytest.fixture(scope="module")
def listed() -> PriceList:
    """The real list, as of a day."""
    return PriceList(today=lambda: datetime.date(2026, 11, 20))


def test_the_operator_s_price_wins():
    own = Price(1, 2, 1, 1, 0, "today", "config")
    listed = PriceList({"mine": own})
    found = listed.find("mine", "anybody")
    assert found is not None
    assert found.price == own
    assert not listed.loaded
    listed.set("gpt-4o", own)
    assert (again := listed.find("gpt-4o", "openai")) is not None
    assert again.price == own


@pytest.mark.slow
def test_the_real_list(listed: PriceList):
    model = listed.find("gpt-4o-mini", "openai")
    assert model is not None
    assert (model.price.input, model.price.output, model.price.cache_read) == (150, 600, 75)
    assert model.price.date.startswith("genai-prices ")
    # A provider with a name of its own serves the model at its maker's price.
    mine = listed.find("gpt-4o-mini", "my-gateway")
    assert mine is not None
    assert mine.price == model.price
    assert listed.find("nobody-has-priced-this") is None
    assert listed.find("nobody-has-priced-this", "openai") is None
    opus = listed.find("claude-opus-4-6", "anthropic")
    assert opus is not None
    sonnet = listed.find("claude-sonnet-4-5", "anthropic")
    assert sonnet is not None
    assert [(tier.over_tokens, tier.input, tier.output) for tier in sonnet.price.tiers] == [
        (0, 3_000, 15_000), (200_000, 6_000, 22_500),
    ]  # fmt: skip
    assert (sonnet.price.input, sonnet.price.output) == (6_000, 22_500)
    assert (opus.price.input, opus.price.cache_write, opus.price.dearest_input) == (5_000, 6_250, 6_250)


@pytest.mark.slow
def test_a_provider_is_known_by_its_address_before_its_name(listed: PriceList):
    assert listed.owner("https://api.openai.com/v1", "anthropic") == "openai"
    assert listed.owner("http://127.0.0.1:8080/v1", "anthropic") == "anthropic"
    assert listed.owner("http://127.0.0.1:8080/v1", "mine") == ""


@pytest.mark.slow
def test_the_models_of_a_provider_are_priced_and_have_room_for_work(listed: PriceList):
    names = listed.models("anthropic")
    assert names
    assert all((listed.find(name, "anthropic").context_tokens or 0) >= 64_000 for name in names)
    assert listed.models("") == []


@pytest.mark.slow
def test_every_name_means_what_it_means_to_the_package(listed: PriceList):
    from genai_prices import data_snapshot

    theirs = data_snapshot.get_snapshot()
    models = [(owner, model) for owner in theirs.providers for model in owner.models][::11]
    assert len(models) > 200
    for owner, model in models:
        for name in (model.id, f"{model.id}-20251211", f"x/{model.id.upper()}"):
            found = owner.find_model(name)
            if found is None:
                try:
                    maker, found = theirs.find_provider_model(name, None, None, None)
                except LookupError:
                    assert listed.find(name, owner.id) is None, (owner.id, name)
                    continue
            else:
                maker = owner
            price = price_export.price(found, datetime.date(2026, 11, 20))
            ours = listed.find(name, owner.id)
            said = None if price is None else (found.id, maker.id, price[0], price[1])
            got = ours and (ours.name, ours.provider, ours.price.input, ours.price.output)
            assert got == said, (owner.id, name)


@pytest.mark.slow
def test_the_package_does_not_stay_in_the_daemon(listed: PriceList):
    assert listed.find("gpt-4o-mini", "openai")
    loaded = {type(each).__module__ for each in listed.load().providers}
    assert loaded == {"dashd.proxy.prices"}
    assert "genai_prices" not in Path(prices.__file__).read_text().replace("genai-prices", "")


def test_many_first_calls_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = tmp_path / "runs"
    once = tmp_path / "once.py"
    once.write_text(f"open({str(runs)!r}, 'a').write('x'); print('{{\"version\":\"1\",\"providers\":[]}}')")
    monkeypatch.setattr(prices, "EXPORT", once)
    listed = PriceList()
    with ThreadPoolExecutor(8) as threads:
        dates = [threads.submit(lambda: listed.date) for _ in range(8)]
    assert {date.result() for date in dates} == {"1"}
    assert runs.read_text() == "x"


def test_it_is_read_again_on_the_day_on_which_a_price_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = ["m", ["equals", "m"], ["price", 1, 1, 1, 0, []], 100_000, False]
    program = tmp_path / "by_day.py"
    program.write_text(
        "import json, sys\n"
        f"model = {model!r}\n"
        "rises = sys.argv[1] >= '2026-12-31'\n"
        "model[2][0] = 9 if rises else 5\n"
        "until = '' if rises else '2026-12-31'\n"
        "print(json.dumps({'version': '1', 'changed': '2026-01-01', 'until': until,"
        " 'providers': [['p', 'x', None, [], [model]]]}))\n"
    )
    monkeypatch.setattr(prices, "EXPORT", program)
    day = datetime.date(2026, 12, 30)
    listed = PriceList(today=lambda: day)

    def cost() -> int:
        found = listed.find("m", "p")
        assert found is not None
        return found.price.input

    assert (cost(), listed.loaded, listed.date) == (5, True, "1, newest price of 2026-01-01")
    day = datetime.date(2026, 12, 31)
    assert not listed.loaded
    assert (cost(), listed.loaded) == (9, True)


def test_a_list_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such package')")
    monkeypatch.setattr(prices, "EXPORT", broken)
    with pytest.raises(errors.Unavailable, match="no such package"):
        PriceList().find("m", "p")


def test_so_is_one_that_takes_too_long_or_that_no_process_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(prices, "EXPORT", slow)
    monkeypatch.setattr(prices, "EXPORT_S_MAX", 0.01)
    with pytest.raises(errors.Unavailable, match="timed out"):
        PriceList().find("m", "p")
    monkeypatch.setattr(prices.sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(errors.Unavailable, match="No such file"):
        PriceList().find("m", "p")
