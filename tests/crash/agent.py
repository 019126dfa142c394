"""The agent of the crash tests: it writes in a journal when it starts and ends, and does as it is told.

Run as `python -I -S agent.py JOURNAL ITEM`; ITEM is a name and words: `work=0.3` seconds, `gate` (until the
file JOURNAL/gate is there), `child` (leaves a process behind), `fail=2` (the first two runs), `progress`,
`deaf` (to TERM), `tree` (it writes what tree.py says; `plain` without what no commit takes, `clash` also a
file that others write). The journal is the witness of the tests: only agents write it, a JSON line an append.
"""

import json
import os
import runpy
import signal
import sys
import time

GATE_S_MAX = 90.0
SLICE_S = 0.02


def main() -> int:
    """Runs one attempt; the exit code is the plan's."""
    folder, (name, *words) = sys.argv[1], sys.argv[2].split()
    plan = dict(([*word.split("="), ""])[:2] for word in words)
    launch = os.environ["DASH_LAUNCH"]
    path = os.path.join(folder, name)
    earlier = read(path)
    journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(what: str, **more: object) -> None:
        line = {"what": what, "launch": launch, "pid": os.getpid(), "at": time.monotonic(), **more}
        os.write(journal, json.dumps(line).encode() + b"\n")

    say("start", alive=alive({line["launch"] for line in earlier} - {launch}))
    if "deaf" in plan:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in plan and os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(90)"])
    work(
        float(plan.get("work", 0)),
        os.path.join(folder, "gate") if "gate" in plan else None,
        "progress" in plan,
    )
    if "tree" in plan:
        here = os.path.dirname(os.path.abspath(__file__))
        write = runpy.run_path(os.path.join(here, "tree.py"))["write"]
        write(name, plain="plain" in plan, clash="clash" in plan)
    fails = sum(line["what"] == "end" for line in earlier) < int(plan.get("fail", 0))
    say("end", code=int(fails))
    return int(fails)


def work(seconds: float, gate: str | None, progress: bool) -> None:
    """Passes the time in short slices, so that a pause stops the count."""
    slices = max(1, round(seconds / SLICE_S))
    for done in range(slices):
        if progress:
            print("@dash", json.dumps({"progress": [done + 1, slices]}), flush=True)
        time.sleep(SLICE_S)
    if gate:
        print('@dash {"note": "at the gate"}', flush=True)
    give_up_at = time.monotonic() + GATE_S_MAX
    while gate and not os.path.exists(gate) and time.monotonic() < give_up_at:
        time.sleep(SLICE_S)


def read(path: str) -> list[dict[str, object]]:
    """What earlier runs of the task have written."""
    try:
        with open(path, "rb") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def alive(launches: set[object]) -> list[str]:
    """Earlier launches of this task of which a process lives right now; there must be none."""
    found = set()
    for entry in os.listdir("/proc") if launches else ():
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                marks = [part for part in file.read().split(b"\0") if part.startswith(b"DASH_LAUNCH=")]
            with open(f"/proc/{entry}/stat", "rb") as file:
                state = file.read().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if marks and state not in (b"Z", b"X"):
            found |= {marks[0].partition(b"=")[2].decode()} & launches
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main())
