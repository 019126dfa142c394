"""What a launch folder says: the tombstone's race both ways, records, and what is lost."""

import json
import os
import threading
from pathlib import Path

import pytest

from dashd.jail import holder_folder, launch_folder, processes
from tests.jail.world import World, deadline, exited, gone

RECORD = {
    "code": 0,
    "signal": None,
    "reason": "exit",
    "error": None,
    "spool_bytes": 1,
    "spool_dropped": 2,
    "wall_ms": 3,
    "cpu_ms": 4,
    "max_rss_kib": 5,
}


class Dead:
    """What a holder leaves in a folder when it goes, without the holder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.here = os.open(folder, os.O_RDONLY)
        self.begin = holder_folder.Begin(self.here, processes.boot_id())

    def die(self) -> None:
        os.close(self.begin.fd)
        os.close(self.here)


def test_the_tombstone_wins_where_nothing_began_and_for_ever(tmp_path: Path):
    folder = tmp_path / "a"
    assert launch_folder.examine(folder) == launch_folder.NeverStarted()
    holder = Dead(folder)
    assert not holder.begin.take(lambda point: None)  # it comes too late and will not exec
    holder.die()
    assert launch_folder.examine(folder) == launch_folder.NeverStarted()
    assert os.listdir(folder) == ["begin"]


def test_the_holder_wins_where_it_was_first(tmp_path: Path):
    holder = Dead(tmp_path)
    assert holder.begin.take(lambda point: None)
    assert launch_folder.examine(tmp_path) == launch_folder.Alive()
    holder.begin.note(123, 456)
    holder.die()
    assert launch_folder.examine(tmp_path) == launch_folder.Lost((123, 456))


def test_whoever_is_first_there_is_one_winner(tmp_path: Path):
    """Many folders, a holder and two examiners each, started together: begun exactly where it is alive."""
    for number in range(50):
        folder = tmp_path / str(number)
        holder = Dead(folder)
        start = threading.Barrier(3)
        said: list[object] = []

        def examine(folder=folder, start=start, said=said) -> None:
            start.wait(5)
            said.append(launch_folder.examine(folder))

        examiners = [threading.Thread(target=examine) for _ in range(2)]
        for thread in examiners:
            thread.start()
        start.wait(5)
        began = holder.begin.take(lambda point: None)
        for thread in examiners:
            thread.join(5)
        assert said == [launch_folder.Alive() if began else launch_folder.NeverStarted()] * 2
        holder.die()


def test_the_record_is_read_once_the_holder_is_gone(tmp_path: Path):
    holder = Dead(tmp_path)
    holder.begin.take(lambda point: None)
    holder_folder.write_exit(holder.here, holder_folder.reserve_exit(holder.here), RECORD, lambda point: None)
    assert launch_folder.examine(tmp_path) == launch_folder.Alive()  # its tree may still be ending
    holder.die()
    assert launch_folder.examine(tmp_path) == launch_folder.Ended(launch_folder.ExitRecord(**RECORD))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', json.dumps(RECORD)[:-5]])
def test_a_record_that_is_none_is_a_loss(tmp_path: Path, text: str):
    holder = Dead(tmp_path)
    holder.begin.take(lambda point: None)
    holder.die()
    (tmp_path / "exit").write_text(text)
    assert launch_folder.examine(tmp_path) == launch_folder.Lost(None)


def test_a_record_of_a_later_holder_is_read_for_what_we_know(tmp_path: Path):
    assert launch_folder.ExitRecord.from_json(RECORD | {"novelty": 1}) == launch_folder.ExitRecord(**RECORD)


@pytest.mark.parametrize(
    "note", ["", "junk", "{}", "[]", '{"boot_id": "another", "agent": 1, "start_time": 2}']
)
def test_a_note_of_another_boot_or_none_addresses_nobody(tmp_path: Path, note: str):
    (tmp_path / "begin").write_text(note)
    assert launch_folder.examine(tmp_path) == launch_folder.Lost(None)


@deadline
async def test_a_folder_is_removed_only_when_nobody_lives_in_it(world: World):
    folder = await world.launch("a", "read line", stdin=True)
    link = await world.adopt(folder)
    with pytest.raises(launch_folder.FolderInUse):
        launch_folder.remove(folder)
    await link.send_input(1, b"\n")
    await exited(link)
    launch_folder.remove(folder)
    assert not folder.exists()
    launch_folder.remove(folder)


@deadline
async def test_a_tombstone_before_the_fork_keeps_the_agent_from_running(world: World):
    assert launch_folder.examine(world.folder("a")) == launch_folder.NeverStarted()
    folder = await world.launch("a", "echo ran")
    await gone(world.holders["a"][0])
    assert launch_folder.examine(folder) == launch_folder.NeverStarted()
    assert not (folder / "spool").exists()
