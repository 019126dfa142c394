"""The filter, run by an interpreter of our own over every call, and once by the kernel."""

import errno
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dashd.jail import seccomp, syscalls
from tests.jail import inside

MACHINES = list(syscalls.ARCHITECTURES)
WORD = st.integers(0, 2**32 - 1)


def judged(program: bytes, machine: syscalls.Architecture, number: int, *arguments: int) -> int:
    """What classic BPF answers, as the kernel's documentation defines its instructions."""
    data = struct.pack("=IIQ6Q", number, machine.audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        kind, then, otherwise, value = code[at]
        at += 1
        if kind == 0x06:
            return value
        if kind == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif kind == 0x54:
            accumulator &= value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
            at += then if holds[kind] else otherwise


def refused(number: int) -> int:
    return 0x50000 | number


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_denied_is_denied_whatever_its_arguments(name):
    machine = syscalls.ARCHITECTURES[name]
    program = seccomp.program(machine)
    for call in seccomp.DENIED:
        if call in machine.numbers:
            assert judged(program, machine, machine.numbers[call], 1, 2, 3) == refused(errno.EPERM), call
    assert judged(program, machine, machine.numbers["clone3"]) == refused(errno.ENOSYS)


@given(
    name=st.sampled_from(MACHINES),
    number=st.integers(0, syscalls.UNKNOWN_FROM - 1),
    arguments=st.lists(WORD, max_size=6),
)
def test_known_calls_without_an_opinion_pass(name, number, arguments):
    machine = syscalls.ARCHITECTURES[name]
    assume(number not in machine.numbers.values())
    assert judged(seccomp.program(machine), machine, number, *arguments) == seccomp.ALLOW


@given(name=st.sampled_from(MACHINES), number=st.integers(syscalls.UNKNOWN_FROM, 2**32 - 1))
def test_calls_that_nobody_has_looked_at_are_not_there(name, number):
    machine = syscalls.ARCHITECTURES[name]
    assert judged(seccomp.program(machine), machine, number) == refused(errno.ENOSYS)


@pytest.mark.parametrize("name", MACHINES)
def test_every_way_to_mounts_is_shut(name):
    """By number, as the kernel's tables have them: a name that is missing above would not be missed."""
    machine = syscalls.ARCHITECTURES[name]
    program = seccomp.program(machine)
    calls = {
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442, "statmount": 457, "listmount": 458, "lsm_set_self_attr": 460,
        "open_tree_attr": 467,
    }  # fmt: skip
    passed = [call for call, number in calls.items() if judged(program, machine, number) == seccomp.ALLOW]
    assert passed == []


@given(family=st.integers(0, 50), kind=WORD, protocol=st.integers(0, 300), unix=st.booleans())
def test_only_tcp_streams_are_sockets(family, kind, protocol, unix):
    machine = syscalls.ARCHITECTURES["x86_64"]
    program = seccomp.program(machine, unix_sockets=unix)
    stream = family in (2, 10) and kind & 0xF == 1 and protocol in (0, 6)
    expected = seccomp.ALLOW if stream or (unix and family == 1) else refused(errno.EACCES)
    assert judged(program, machine, 41, family, kind, protocol) == expected


@given(flags=WORD)
def test_no_clone_makes_a_namespace_and_no_send_connects(flags):
    machine = syscalls.ARCHITECTURES["x86_64"]
    program = seccomp.program(machine)
    namespaces = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
    expected = refused(errno.EPERM) if flags & namespaces else seccomp.ALLOW
    assert judged(program, machine, 56, flags) == expected
    expected = refused(errno.EPERM) if flags & 0x20000000 else seccomp.ALLOW
    assert judged(program, machine, 44, 3, 0, 0, flags) == expected


@given(pid=st.integers(1, 2**31))
def test_limits_and_places_are_one_s_own(pid):
    machine = syscalls.ARCHITECTURES["x86_64"]
    program = seccomp.program(machine)
    first = {"prlimit64": [], "sched_setaffinity": [], "setpriority": [0], "ioprio_set": [1]}
    for call, before in first.items():
        number = machine.numbers[call]
        assert judged(program, machine, number, *before, pid) == refused(errno.EPERM)
        assert judged(program, machine, number, *before, 0) == seccomp.ALLOW
    for which in (1, 2):  # of a group, of a user: 0 means all of the caller's
        assert judged(program, machine, machine.numbers["setpriority"], which, 0) == refused(errno.EPERM)


@given(level=st.integers(0, 300), option=st.integers(0, 80))
def test_buffers_of_sockets_stay_as_large_as_they_are_and_nobody_is_told(level, option):
    sizes = level == 1 and option in (7, 8, 32, 33)
    for name, number in (("x86_64", 54), ("aarch64", 208)):
        machine = syscalls.ARCHITECTURES[name]
        judgement = judged(seccomp.program(machine), machine, number, 3, level, option)
        assert judgement == (refused(0) if sizes else seccomp.ALLOW)


@given(command=st.one_of(st.just(1031), st.integers(0, 1100)), size=st.one_of(st.integers(0, 70000), WORD))
def test_pipes_grow_no_larger_than_they_are_made(command, size):
    too_large = command == 1031 and size > 65536
    for name, number in (("x86_64", 72), ("aarch64", 25)):
        machine = syscalls.ARCHITECTURES[name]
        judgement = judged(seccomp.program(machine), machine, number, 3, command, size)
        assert judgement == (refused(errno.EPERM) if too_large else seccomp.ALLOW)


def test_another_table_ends_the_process_and_x32_is_not_there():
    machine = syscalls.ARCHITECTURES["x86_64"]
    program = seccomp.program(machine)
    assert judged(program, machine._replace(audit=0x40000003), 1) == seccomp.KILL
    assert judged(program, machine, 0x4000_0001) == refused(errno.ENOSYS)


def test_the_kernel_takes_it_and_obeys(tmp_path):
    code = (
        "import socket, os\n"
        "for make in (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), lambda: socket.socket(),\n"
        "             lambda: socket.socketpair(), lambda: os.setpriority(os.PRIO_PROCESS, 1, 5)):\n"
        "    try: make(); print('yes')\n"
        "    except OSError as error: print(error.errno)\n"
    )
    ended = inside.enter("C", tmp_path, *inside.python_inside(code))
    assert ended.output.split() == [str(errno.EACCES), "yes", "yes", str(errno.EPERM)]


def test_a_buffer_that_is_asked_for_is_not_given(tmp_path):
    code = (
        "import socket, os, fcntl\n"
        "pair = socket.socketpair()\n"
        "for each in (pair[0], socket.socket()):\n"
        "    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):\n"
        "        before = each.getsockopt(socket.SOL_SOCKET, option)\n"
        "        each.setsockopt(socket.SOL_SOCKET, option, before // 4)\n"
        "        print(each.getsockopt(socket.SOL_SOCKET, option) == before)\n"
        "    each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)\n"
        "    print(each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1)\n"
        "reader, writer = os.pipe()\n"
        "print(fcntl.fcntl(writer, 1031, 4096) == 4096)\n"
        "try: fcntl.fcntl(writer, 1031, 1 << 20)\n"
        "except PermissionError: print(fcntl.fcntl(writer, 1032) == 4096)\n"
    )
    ended = inside.enter("C", tmp_path, *inside.python_inside(code))
    assert ended.output.split() == ["True"] * 8
