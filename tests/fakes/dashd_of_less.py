"""A real dashd on a machine that has less to build walls from: `WHAT run …`.

`no-bwrap` and `no-userns` are real: a user namespace of the test's own, in which bubblewrap is hidden behind
a mount, or the kernel grants no further namespaces. `landlock-N` makes this dashd believe in version N, and
rulesets are made for that.
"""

import os
import sys

from dashd import __main__ as dashd_main
from dashd.jail import landlock, probe

OWN = ("unshare", "--user", "--map-current-user", "--keep-caps")
"""Goes on as the same user, with rights in the new namespaces alone."""
WITHOUT_RIGHTS = ("setpriv", "--inh-caps", "-all", "--ambient-caps", "-all", "--")
TAKEN = {
    "no-bwrap": (("--mount",), 'mount --bind /dev/null "$0"'),
    "no-userns": ((), "echo 0 > /proc/sys/user/max_user_namespaces"),
}


def argv(what: str) -> tuple[str, ...]:
    """What Python runs, before `run`."""
    return ("-m", __name__, what)


def main() -> int:
    """Goes on as dashd, by way of a machine that has less."""
    what, *rest = sys.argv[1:]
    if what in TAKEN:
        more, script = TAKEN[what]
        dashd = [sys.executable, "-P", "-m", "dashd", *rest]
        shell = ["sh", "-c", f'{script} && exec "$@"', probe.find_bwrap() or "", *WITHOUT_RIGHTS, *dashd]
        os.execvp(OWN[0], [*OWN, *more, "--", *shell])
    version = int(what.removeprefix("landlock-"))
    landlock.abi = lambda: version
    return dashd_main.main(rest)


if __name__ == "__main__":
    sys.exit(main())
