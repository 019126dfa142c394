"""What the tables of added places have in common, shown on instances."""

import msgspec

from dashd.store import instances, registry
from dashd.store.instances import InstanceRow
from dashd.store.registry import Registry

NEXT = InstanceRow("next", "static", "/p/cli.js", '["gpu"]', "eu", 4)
TABLE = Registry(InstanceRow, "instance", "instances")


def put(scene, row=NEXT):
    return scene.do(lambda tx: TABLE.put(tx, row))


def test_they_are_kept_replaced_and_removed(scene) -> None:
    first = put(scene)
    put(scene, msgspec.structs.replace(NEXT, name="attic"))
    assert [row.name for row in TABLE.every(scene.db)] == ["attic", "next"]
    assert scene.do(lambda tx: TABLE.drain(tx, "next", on=True))
    again = put(scene, msgspec.structs.replace(NEXT, program="/q/cli.js"))
    assert (again.program, again.draining, again.added_at_ms > first.added_at_ms) == ("/q/cli.js", 1, True)
    assert TABLE.find(scene.db, "next") == again
    scene.do(lambda tx: TABLE.remove(tx, "next"))
    assert TABLE.find(scene.db, "next") is None


def test_what_drains_drains_once(scene) -> None:
    put(scene)
    done = [scene.do(lambda tx, on=on: TABLE.drain(tx, "next", on=on)) for on in (True, True, False, False)]
    assert done == [True, False, True, False]


def test_one_that_was_put_anew_is_another_one(scene) -> None:
    former = put(scene)
    assert TABLE.same(scene.db, former) == former
    put(scene)
    assert TABLE.same(scene.db, former) is None


def test_each_change_rings_its_bell(scene) -> None:
    rung = []

    def operation(tx):
        for change in (TABLE.put, lambda tx, row: TABLE.drain(tx, row.name, on=True)):
            change(tx, NEXT)
            rung.append(set(tx.rings))
            tx.rings.clear()
        TABLE.remove(tx, "next")
        rung.append(set(tx.rings))

    scene.do(operation)
    assert rung == [{"instances"}] * 3


def test_capabilities_are_words_of_json() -> None:
    assert registry.capabilities(NEXT) == ["gpu"]
    assert registry.capabilities(instances.own("local", 1)) == []
