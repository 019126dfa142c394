"""The stand-in provider from outside: a stage of dashd's is what the demo makes and reads."""

from dashctl.demo import stand_in
from dashd.domain.prices import Usage
from dashd.proxy import registry
from dashd.proxy.offline import Billed
from dashd.proxy.stage import Stage


def test_its_names_are_those_of_the_built_in_providers():
    assert [each.name for each in registry.offline_providers()] == [stand_in.FIRST, stand_in.SECOND]


def test_an_outage_begins_and_ends(tmp_path):
    folder = tmp_path / "stage"
    stand_in.make(folder)
    stage = Stage(folder)
    assert not stage.is_down(stand_in.FIRST)
    stand_in.go_down(folder)
    assert stage.is_down(stand_in.FIRST)
    assert not stage.is_down(stand_in.SECOND)
    stand_in.come_back(folder)
    assert not stage.is_down(stand_in.FIRST)
    stage.close()


def test_the_bill_is_summed_by_item_and_by_provider(tmp_path):
    assert stand_in.read_bill(tmp_path).total == 0
    stage = Stage(tmp_path)
    for provider, item, nusd in (("offline", "a", 3), ("offline-b", "a", 4), ("offline-b", "b", 5)):
        stage.bill(Billed(provider, item, Usage(1, 0, 0, 1), nusd))
    stage.close()
    bill = stand_in.read_bill(tmp_path)
    assert (bill.total, bill.by_item, bill.answers) == (12, {"a": 7, "b": 5}, {"offline": 1, "offline-b": 2})
