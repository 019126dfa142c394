"""Dialling into a jail: from outside its network, through its holder, as nobody special."""

import socket

import pytest
import trio

from dashd.jail import holder_link
from tests.jail import inside
from tests.jail.test_agent_start import spec
from tests.jail.world import World, deadline, exited, printed

PORT = 4_711
ECHO = f"""
import socket
door = socket.create_server(("127.0.0.1", {PORT}))
print("listening", flush=True)
while True:
    peer, _ = door.accept()
    peer.sendall(peer.recv(99).upper())
    peer.close()
"""


async def heard(sock: socket.socket) -> bytes:
    with sock:
        sock.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock.dup()))
        async with stream:
            await stream.send_all(b"hello")
            return await stream.receive_some(99)


@deadline
async def test_a_program_in_a_jail_is_dialled_and_its_port_is_nobody_else_s(world: World, tmp_path):
    link = world.keep(
        await world.launcher.launch_adopted(spec("a", tmp_path, *inside.python_inside(ECHO)), 1)
    )
    await printed(link, world.folder("a"), b"listening")
    for _ in range(3):  # and the adoption is not touched
        assert await heard(await holder_link.dial(world.folder("a"), PORT)) == b"HELLO"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", PORT), timeout=5)
    await link.stop(0)
    assert (await exited(link)).reason == "stop"


@deadline
async def test_where_nobody_listens_it_says_so(world: World, tmp_path):
    link = world.keep(await world.launcher.launch_adopted(spec("a", tmp_path, "echo up; sleep 100"), 1))
    await printed(link, world.folder("a"), b"up")
    with pytest.raises(OSError, match="ECONNREFUSED"):
        await holder_link.dial(world.folder("a"), PORT)
    await link.stop(0)
    assert (await exited(link)).reason == "stop"  # what dialled is no process of the agent's


@deadline
async def test_without_a_jail_it_is_the_loopback_address_of_the_machine(world: World, tmp_path):
    folder = await world.launch("a", "echo up; sleep 100")
    link = await world.adopt(folder)
    await printed(link, folder, b"up")
    with socket.create_server(("127.0.0.1", 0)) as door:
        dialled = await holder_link.dial(folder, door.getsockname()[1])
        accepted, _ = await trio.to_thread.run_sync(door.accept)
        with dialled, accepted:
            assert dialled.getpeername() == door.getsockname()
    await link.stop(0)
    await exited(link)


@deadline
async def test_of_a_launch_that_is_over_nothing_is_dialled(world: World, tmp_path):
    folder = await world.launch("a", "exit 0")
    await world.finish(folder)
    with pytest.raises((holder_link.HolderGone, OSError)):
        await holder_link.dial(folder, PORT)
