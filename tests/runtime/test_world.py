"""What the runtime must write down is written down, also where the disk is full for a while."""

import pytest
import trio
import trio.testing

from dashd.wire import errors


async def test_a_full_disk_delays_is_shown_and_passes(bed, autojump_clock, nursery) -> None:
    bed.store.writer.refusal = errors.StoreFull("the disk is full.")
    done = []

    async def commit() -> None:
        done.append(await bed.world.commit(lambda tx: tx.emit("system.alert")))

    nursery.start_soon(commit)
    await trio.sleep(2.5)
    assert done == []
    assert "the disk is full" in bed.world.trouble.text
    ticket = bed.world.trouble.ticket()
    bed.store.writer.refusal = None
    await ticket.wait()
    assert (bed.world.trouble.text, trio.current_time()) == ("", 3.0)
    await trio.testing.wait_all_tasks_blocked()
    assert done == [1]


@pytest.mark.parametrize("error", [errors.StoreBroken, errors.StoreClosed])
async def test_after_any_other_refusal_this_daemon_must_not_go_on(bed, autojump_clock, error) -> None:
    bed.store.writer.refusal = error()
    with pytest.raises(error):
        await bed.world.commit(lambda tx: None)


async def test_waiting_for_space_can_be_cancelled(bed, autojump_clock) -> None:
    bed.store.writer.refusal = errors.StoreFull()
    with trio.move_on_after(1.5) as scope:
        await bed.world.commit(lambda tx: None)
    assert scope.cancelled_caught


async def test_a_launch_has_its_folder_and_jitter_is_below_one(bed, autojump_clock, tmp_path) -> None:
    assert bed.world.folder("x.1") == tmp_path / "launches" / "x.1"
    assert 0.99 < bed.world.jitter() < 1
