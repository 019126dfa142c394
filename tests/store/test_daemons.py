"""The daemon's own row."""

from dashd.store import daemons


def test_every_start_has_a_higher_epoch(scene, clock) -> None:
    assert scene.do(daemons.raise_epoch) == 1
    clock.advance(5)
    assert scene.do(daemons.raise_epoch) == 2
    assert scene.db.execute("SELECT started_at_ms FROM daemon").get == clock.now_ms()
