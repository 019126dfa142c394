"""System call numbers by architecture, of the calls that the filter has an opinion on.

From the kernel's own tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
A name that an architecture lacks is simply not there. aarch64 has not been run.
"""

import os
from typing import NamedTuple


class Architecture(NamedTuple):
    """What a filter must know of a machine."""

    audit: int
    """AUDIT_ARCH_*: calls made through another table are not ours to judge by number."""
    numbers: dict[str, int]
    foreign_from: int | None
    """Numbers from here on are of a second table behind the same audit value (x32)."""


def _table(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in (word.split("=") for word in text.split())}


_SHARED = """
    io_uring_setup=425 io_uring_enter=426 io_uring_register=427 open_tree=428 move_mount=429 fsopen=430
    fsconfig=431 fsmount=432 fspick=433 clone3=435 pidfd_getfd=438 process_madvise=440 mount_setattr=442
    quotactl_fd=443 memfd_secret=447 statmount=457 listmount=458 lsm_set_self_attr=460
    open_tree_attr=467
"""
UNKNOWN_FROM = 468
"""Numbers from here on, the same on every architecture, came after these tables were last gone through."""
_X86_64 = _table(
    _SHARED
    + """
    ioctl=16 shmget=29 shmat=30 shmctl=31 socket=41 sendto=44 sendmsg=46 socketpair=53 clone=56
    semget=64 semop=65 semctl=66 shmdt=67 msgget=68 msgsnd=69 msgrcv=70 msgctl=71 semtimedop=220
    ptrace=101 syslog=103 personality=135 setpriority=141 sched_setparam=142 sched_setscheduler=144
    vhangup=153 modify_ldt=154 pivot_root=155 adjtimex=159 chroot=161 acct=163 settimeofday=164
    mount=165 umount2=166 swapon=167 swapoff=168 reboot=169 sethostname=170 setdomainname=171 iopl=172
    ioperm=173 init_module=175 delete_module=176 quotactl=179 sched_setaffinity=203 lookup_dcookie=212
    clock_settime=227 mq_open=240 mq_unlink=241 kexec_load=246 add_key=248 request_key=249 keyctl=250
    ioprio_set=251 migrate_pages=256 unshare=272 move_pages=279 perf_event_open=298 fanotify_init=300
    prlimit64=302 name_to_handle_at=303 open_by_handle_at=304 clock_adjtime=305 sendmmsg=307 setns=308
    process_vm_readv=310 process_vm_writev=311 kcmp=312 finit_module=313 sched_setattr=314
    memfd_create=319 kexec_file_load=320 bpf=321 userfaultfd=323 setsockopt=54 fcntl=72
"""
)
_AARCH64 = _table(
    _SHARED
    + """
    lookup_dcookie=18 ioctl=29 ioprio_set=30 umount2=39 mount=40 pivot_root=41 chroot=51 vhangup=58
    quotactl=60 acct=89 personality=92 unshare=97 kexec_load=104 init_module=105 delete_module=106
    clock_settime=112 syslog=116 ptrace=117 sched_setparam=118 sched_setscheduler=119
    sched_setaffinity=122 setpriority=140 reboot=142 sethostname=161 setdomainname=162 settimeofday=170
    adjtimex=171 mq_open=180 mq_unlink=181 msgget=186 msgctl=187 msgrcv=188 msgsnd=189 semget=190 semctl=191
    semtimedop=192 semop=193 shmget=194 shmctl=195 shmat=196 shmdt=197 socket=198 socketpair=199
    sendto=206 sendmsg=211 add_key=217 request_key=218 keyctl=219 clone=220 swapon=224 swapoff=225
    migrate_pages=238 move_pages=239 perf_event_open=241 prlimit64=261 fanotify_init=262
    name_to_handle_at=264 open_by_handle_at=265 clock_adjtime=266 setns=268 sendmmsg=269
    process_vm_readv=270 process_vm_writev=271 kcmp=272 finit_module=273 sched_setattr=274 memfd_create=279
    bpf=280 userfaultfd=282 kexec_file_load=294 setsockopt=208 fcntl=25
"""
)
ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, _X86_64, 0x4000_0000),
    "aarch64": Architecture(0xC00000B7, _AARCH64, None),
}


def here() -> Architecture | None:
    """This machine's; None where the filter has not been written for it."""
    return ARCHITECTURES.get(os.uname().machine)
