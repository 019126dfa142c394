"""One dashd for the folder, a door to it for each test, gates that hold agents until a test lets go, and
gateways that somebody added.
"""

import os

import pytest

from tests.whole import daemons, door
from tests.whole.fleet import Fleet

GATE = 'read -r _ < "$1"'
"""The line of a script that waits at the gate given as its first argument."""


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    """The dashd that tests share; each makes swarms of its own. Nothing of it may be left at the end."""
    shared = daemons.DaemonProcess(tmp_path_factory.mktemp("w"))
    try:
        shared.start()
        yield shared
        assert shared.stop() == 0
        assert shared.processes() == []
    finally:
        shared.end()


@pytest.fixture
def start_daemon(tmp_path_factory):
    """`start_daemon(DASH_MAX_AGENTS="1")`: a dashd of this test's own."""
    started = []

    def start_daemon(**environ):
        started.append(daemons.DaemonProcess(tmp_path_factory.mktemp("o"), **environ))
        started[-1].start()
        return started[-1]

    yield start_daemon
    for each in started:
        each.end()


@pytest.fixture
async def dash(daemon):
    """A connection to the shared dashd; the swarms that were made through it are gone afterwards."""
    async with door.open_door(daemon.socket) as opened:
        yield opened
        await opened.destroy_all()


class Gate:
    """A named pipe: a script that reads a line from it waits until the test lets it pass."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = str(path)
        # Open at both ends for as long as the test runs, so that neither side ever blocks in open(2).
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def let(self, count=1):
        """Lets that many pass, now or when they come."""
        os.write(self._fd, b"\n" * count)

    def close(self):
        os.close(self._fd)


@pytest.fixture
def gate(tmp_path):
    opened = Gate(tmp_path / "gate")
    yield opened
    opened.close()


@pytest.fixture
def second_gate(tmp_path):
    opened = Gate(tmp_path / "second")
    yield opened
    opened.close()


@pytest.fixture
def fleet(tmp_path):
    folder = tmp_path / "gateways"
    folder.mkdir()
    folder.chmod(0o755)
    made = Fleet(folder)
    yield made
    made.end()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    (folder / "go").touch()  # for tools whose gateway was killed
