"""The smallest inner stage: what the walls of the last step are, in their order. For the tests alone.

    small_stage.py FD -- COMMAND...        FD: a JSON policy

close_range, rlimits, no_new_privs, Landlock, seccomp, exec with a clean environment; each unless
policy["without"] names it. A layer that does not apply ends it with status 125. Standard library alone.
"""

import ctypes
import json
import os
import resource
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NO_NEW_PRIVS, SECCOMP, PDEATHSIG = 38, 22, 1
EPERM, EACCES, ENOSYS = 1, 13, 38


def call(number, *arguments):
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"system call {number}")
    return result


def prctl(option, *values):
    if libc.prctl(
        option, *[ctypes.c_ulong(value) for value in values], *[ctypes.c_ulong(0)] * (4 - len(values))
    ):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


# --- Landlock: what is named may be done, all else of the kinds that this kernel knows may not ---

ALL_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # so many kinds of access to files
EXECUTE, WRITE, READ, LIST = 1, 2, 4, 8
MAKE_DEVICES = 1 << 6 | 1 << 11
ON_FILES = EXECUTE | WRITE | READ | 1 << 14 | 1 << 15
READ_ONLY = EXECUTE | READ | LIST


def landlock(rules, port, without):
    abi = call(444, None, 0, 1)
    handled = (1 << ALL_OF_ABI[min(abi, 5)]) - 1
    files = 0 if "landlock_files" in without else handled
    net = 3 if abi >= 4 and "landlock_net" not in without else 0
    scope = 3 if abi >= 6 and "landlock_scope" not in without else 0
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = call(444, struct.pack("3Q", files, net, scope)[:size], size, 0)
    for where, kind in rules if files else ():
        allow(ruleset, where, kind, handled)
    if net and port:
        call(445, ruleset, 2, struct.pack("2Q", 2, port), 0)
    call(446, ruleset, 0)


def allow(ruleset, where, kind, handled):
    """`where` is a path, or the number of an open folder."""
    try:
        fd = where if isinstance(where, int) else os.open(where, os.O_PATH)
    except OSError:  # the view has it or has it not
        return
    mode = os.fstat(fd).st_mode
    access = {"read": READ_ONLY, "look": READ | LIST, "write": handled & ~MAKE_DEVICES}[kind] & handled
    if not stat.S_ISDIR(mode):
        access &= ON_FILES
    call(445, ruleset, 1, struct.pack("=Qi", access, fd), 0)


# --- seccomp: a list of what no agent needs; x86_64 ---

DENIED = """
    101 310 311 438 312 298 321 323 248 249 250 425 426 427 303 304 175 313 176 246 320 169 167 168 163 179
    443 164 227 159 305 172 173 135 300 153 103 170 171 440 256 279 447 212 154 272 308 165 166 155 161 442
    428 429 430 431 432 433 29 30 31 68 69 70 71 64 65 66 220 240
"""  # ptrace, process_vm_*, pidfd_getfd, bpf, keys, io_uring, modules, clocks, mounts, namespaces, SysV IPC
OTHERS_BY_PID = {302: 0, 203: 0, 144: 0, 314: 0, 142: 0, 141: 1, 251: 1}  # argument that must be 0
NAMESPACES = 0x7E020000
ALLOW, KILL = 0x7FFF0000, 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06


def refuse(error):
    return 0x00050000 | error


def argument(number):
    return (LOAD, 16 + 8 * number, 0, 0)


def only(*tests):
    """Instructions after which the call goes on if each test holds, else EACCES."""
    program = []
    for load, test, value in tests:
        program += [*load, (test, value, 0, "no")]
    end = [*program, (RETURN, ALLOW, 0, 0), (RETURN, refuse(EACCES), 0, 0)]
    return [
        (code, value, yes, len(end) - 2 - place if no == "no" else no)
        for place, (code, value, yes, no) in enumerate(end)
    ]


def never(load, test, value):
    """Refused if the test holds."""
    return [load, (test, value, 0, 1), (RETURN, refuse(EPERM), 0, 0), (RETURN, ALLOW, 0, 0)]


def seccomp_program():
    program = [(LOAD, 4, 0, 0), (EQUAL, 0xC000003E, 1, 0), (RETURN, KILL, 0, 0)]
    program += [(LOAD, 0, 0, 0), (AT_LEAST, 0x40000000, 0, 1), (RETURN, refuse(ENOSYS), 0, 0)]
    blocks = [(int(number), [(RETURN, refuse(EPERM), 0, 0)]) for number in DENIED.split()]
    blocks.append((435, [(RETURN, refuse(ENOSYS), 0, 0)]))  # clone3: libc goes back to clone
    blocks.append((56, never(argument(0), ANY_BIT, NAMESPACES)))
    blocks.append(
        (16, [argument(1), (EQUAL, 0x5412, 1, 0), (EQUAL, 0x541C, 0, 1), (RETURN, refuse(EPERM), 0, 0)])
    )
    blocks[-1][1].append((RETURN, ALLOW, 0, 0))  # TIOCSTI, TIOCLINUX
    for number, flags in ((44, 3), (46, 2), (307, 3)):
        blocks.append((number, never(argument(flags), ANY_BIT, 0x20000000)))  # fast open
    blocks.append((72, never(argument(1), EQUAL, 1031)))  # F_SETPIPE_SZ
    sizes = [(EQUAL, option, 4 - place, 0) for place, option in enumerate((7, 8, 32, 33))]  # SO_SNDBUF …
    blocks.append((54, [argument(1), (EQUAL, 1, 1, 0), (RETURN, ALLOW, 0, 0), argument(2), *sizes]))
    blocks[-1][1].extend([(RETURN, ALLOW, 0, 0), (RETURN, refuse(EPERM), 0, 0)])
    for number, place in OTHERS_BY_PID.items():
        blocks.append((number, only(([argument(place)], EQUAL, 0))))
    blocks.append((53, only(([argument(0)], EQUAL, 1))))  # socketpair of AF_UNIX
    # socket: AF_INET or AF_INET6 (2, 10), a stream, protocol 0 or TCP (6; 2 and 4 are no streams anyway)
    family, kind, protocol = (
        [argument(place), (AND, mask, 0, 0)] for place, mask in ((0, ~8), (1, 15), (2, ~6))
    )
    blocks.append((41, only((family, EQUAL, 2), (kind, EQUAL, 1), (protocol, EQUAL, 0))))
    for number, body in blocks:
        program += [(EQUAL, number, 0, len(body)), *body]
    return [*program, (RETURN, ALLOW, 0, 0)]


def seccomp():
    lines = seccomp_program()
    program = b"".join(
        struct.pack("HBBI", code, yes, no, value & 0xFFFFFFFF) for code, value, yes, no in lines
    )
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(buffer)), 16)
    prctl(SECCOMP, 2, ctypes.addressof(header))


def apply(policy, without):
    if policy["die_with_parent"]:
        prctl(PDEATHSIG, 9)
    if "rlimits" not in without:
        for name, value in policy["rlimits"].items():
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    if "no_new_privs" not in without:
        prctl(NO_NEW_PRIVS, 1)
    if "landlock" not in without:
        landlock(policy["rules"], policy["port"], without)
    if "close_range" not in without:
        call(436, 3, 0xFFFFFFFF, 0)
    if "seccomp" not in without:
        seccomp()


def main():
    with open(int(sys.argv[1]), "rb") as file:
        policy = json.load(file)
    without = set(policy["without"])
    try:
        apply(policy, without)
        os.chdir(policy["cwd"])
        kept = os.environ if "clear_environment" in without or not policy["environment"] else {}
        os.execvpe(sys.argv[3], sys.argv[3:], {**kept, **policy["environment"]})
    except OSError as error:
        sys.stderr.write(f"small_stage: refused: {error}\n")
    os._exit(125)


if __name__ == "__main__":
    main()
