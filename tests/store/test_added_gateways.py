"""Rows of added gateways: what is told of them, and told once."""

import msgspec

from dashd.store import added_gateways, registry
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.registry import Look

DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, '["gpu"]', "eu", 4, 0)


def put(scene, row=DESK):
    return scene.do(lambda tx: added_gateways.put(tx, row))


def told(scene):
    return [(each["kind"], each["data"]) for each in scene.events() if each["kind"].startswith("gateway.")]


def test_they_are_kept_replaced_and_removed(scene) -> None:
    first = put(scene)
    put(scene, msgspec.structs.replace(DESK, name="attic", secret="command", command='["pass","g"]'))
    assert [row.name for row in added_gateways.every(scene.db)] == ["attic", "desk"]
    assert scene.do(lambda tx: added_gateways.drain(tx, "desk", on=True))
    again = put(scene, msgspec.structs.replace(DESK, url="ws://127.0.0.1:2"))
    assert (again.url, again.draining, again.added_at_ms > first.added_at_ms) == ("ws://127.0.0.1:2", 1, True)
    assert added_gateways.find(scene.db, "desk") == again
    scene.do(lambda tx: added_gateways.remove(tx, "desk"))
    assert added_gateways.find(scene.db, "desk") is None


def test_up_and_down_are_told_once_and_a_new_boot_is_news(scene) -> None:
    row = put(scene)
    for boot in ("b1", "b1", "b2"):
        scene.do(lambda tx, boot=boot: added_gateways.set_up(tx, row, boot, "v"))
    for _ in range(2):
        scene.do(lambda tx: added_gateways.set_down(tx, row, "no answer"))
    scene.do(lambda tx: added_gateways.set_up(tx, row, "b2", "v"))
    up = {"gateway": "desk", "version": "v", "restarted": False}
    assert told(scene) == [
        ("gateway.up", up),
        ("gateway.up", up | {"restarted": True}),
        ("gateway.down", {"gateway": "desk", "reason": "no answer"}),
        ("gateway.up", up),
    ]


def test_what_became_of_a_former_one_of_the_name_is_not_told(scene) -> None:
    former = put(scene)
    put(scene)
    scene.do(lambda tx: added_gateways.set_up(tx, former, "b", "v"))
    scene.do(lambda tx: added_gateways.set_down(tx, former, "gone"))
    assert told(scene) == []
    assert added_gateways.find(scene.db, "desk").told == ""


def test_draining_is_told_and_its_end_is_not(scene) -> None:
    put(scene)
    done = [scene.do(lambda tx, on=on: added_gateways.drain(tx, "desk", on=on)) for on in (True, True, False)]
    assert done == [True, False, True]
    assert told(scene) == [("gateway.draining", {"gateway": "desk"})]


def test_columns_of_json() -> None:
    assert (added_gateways.command(DESK), registry.capabilities(DESK)) == ([], ["gpu"])


def test_no_column_could_hold_a_token(scene) -> None:
    names = {row[1] for row in scene.db.execute("PRAGMA table_info(added_gateway)")}
    assert names == set(AddedGatewayRow.__struct_fields__)
    assert "token" not in names


def test_the_port_of_its_door_outlives_what_is_said_of_it(scene) -> None:
    put(scene)
    scene.do(lambda tx: added_gateways.set_port(tx, "desk", 4_000))
    put(scene, msgspec.structs.replace(DESK, url="ws://127.0.0.1:2"))
    assert added_gateways.find(scene.db, "desk").port == 4_000


def test_more_room_wakes_the_queue(scene):
    def rings(operation):
        ticket = scene.store.bells.queue.ticket()
        scene.do(operation)
        return ticket.is_set()

    assert rings(lambda tx: added_gateways.put(tx, DESK))
    assert not rings(lambda tx: added_gateways.drain(tx, "desk", on=True))
    assert rings(lambda tx: added_gateways.drain(tx, "desk", on=False))


def test_a_place_is_what_rows_and_the_last_look_say(scene):
    row = scene.do(lambda tx: added_gateways.put(tx, DESK))
    (unseen,) = added_gateways.places(scene.db, {})
    assert (unseen.id, unseen.health, unseen.load, unseen.capacity) == ("desk", "unknown", 0, row.capacity)
    looks = {"desk": Look(row.added_at_ms, "alive", "v2026.9.6")}
    (seen,) = added_gateways.places(scene.db, looks)
    assert (seen.health, seen.version) == ("alive", (2026, 9, 6))
    (another,) = added_gateways.places(scene.db, {"desk": Look(row.added_at_ms - 1, "alive", None)})
    assert another.health == "unknown"
