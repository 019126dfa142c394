"""The tables of numbers: complete for the filter, and right on this machine as far as it can be asked."""

import ctypes
import errno
import os

from dashd.jail import seccomp, syscalls


def test_every_name_that_is_denied_is_known_somewhere():
    known = {name for machine in syscalls.ARCHITECTURES.values() for name in machine.numbers}
    assert set(seccomp.DENIED) <= known
    assert {"clone", "clone3", "socket", "socketpair", "sendto", "ioctl"} <= known


def test_no_number_means_two_calls():
    for machine in syscalls.ARCHITECTURES.values():
        assert len(set(machine.numbers.values())) == len(machine.numbers)


def test_this_machine_is_one_of_them():
    assert syscalls.here() is syscalls.ARCHITECTURES.get(os.uname().machine)


def test_the_kernel_agrees_on_some_of_them():
    """Called with nonsense: EBADF, EINVAL or EFAULT come from the call that was meant."""
    machine = syscalls.here()
    if machine is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for name, arguments, number in (
        ("sendmsg", (-1, 0, 0), errno.EBADF),
        ("setns", (-1, 0), errno.EBADF),
        ("ioctl", (-1, 0, 0), errno.EBADF),
        ("setsockopt", (-1, 0, 0, 0, 0), errno.EBADF),
        ("fcntl", (-1, 1031, 0), errno.EBADF),
        ("clone3", (0, 1), errno.EINVAL),
        ("socket", (9999, 0, 0), errno.EAFNOSUPPORT),
    ):
        assert libc.syscall(ctypes.c_long(machine.numbers[name]), *arguments) == -1
        assert ctypes.get_errno() == number, name
