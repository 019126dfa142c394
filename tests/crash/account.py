"""The account after a crash: rows and events from a copy of the database, runs from the agents' own journals.

Every check raises AssertionError with what was found. Nothing here asks the daemon.
"""

import itertools
import json
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from tests.fakes import telling

OPEN_ATTEMPT = ("claimed", "starting", "running")
WORKING = ("spawning", "running", "paused")
ENDED_TASK = ("completed", "dead", "cancelled")
ENDED_SEAT = ("completed", "failed", "killed")
Row = dict[str, Any]


@dataclass
class Execution:
    """One run of a task as the agent itself wrote it down."""

    task: str
    launch: str
    pid: int
    start: float
    alive: list[str]
    """Earlier launches of the task that it saw alive when it started."""
    end: float | None = None
    code: int | None = None


class Account:
    """The rows at one instant."""

    def __init__(self, database: Path) -> None:
        """Copies the database first, so that looking changes nothing."""
        with tempfile.TemporaryDirectory() as folder:
            for name in (database.name, f"{database.name}-wal"):
                if database.with_name(name).exists():
                    shutil.copy(database.with_name(name), folder)
            db = apsw.Connection(str(Path(folder, database.name)))
            db.row_trace = lambda cursor, row: dict(
                zip((found[0] for found in cursor.get_description()), row, strict=True)
            )
            self.integrity = [found["integrity_check"] for found in db.execute("PRAGMA integrity_check")]
            self.foreign = list(db.execute("PRAGMA foreign_key_check"))
            self.swarms = _by_id(db.execute("SELECT * FROM swarm"))
            self.tasks = _by_id(db.execute("SELECT * FROM task"))
            self.agents = _by_id(db.execute("SELECT * FROM agent"))
            self.attempts = _by_id(db.execute("SELECT * FROM attempt ORDER BY rowid"))
            self.launches = _by_id(db.execute("SELECT * FROM launch"))
            self.merges = list(db.execute("SELECT * FROM merge ORDER BY number"))
            self.landings = list(db.execute("SELECT * FROM landing ORDER BY number"))
            self.workspaces = {
                found["owner"]: found for found in db.execute("SELECT * FROM workspace ORDER BY owner")
            }
            self.events = [
                json.loads(found["body"]) for found in db.execute("SELECT body FROM event ORDER BY seq")
            ]
            self.epoch = next(iter(db.execute("SELECT epoch FROM daemon")))["epoch"]
            db.close()

    def check_rows(self) -> None:
        """What must hold at every instant, whoever was killed."""
        assert self.integrity == ["ok"], self.integrity
        assert self.foreign == []
        open_runs = [run for run in self.attempts.values() if run["state"] in OPEN_ATTEMPT]
        of_task = Counter(run["task_id"] for run in open_runs)
        of_seat = Counter(run["agent_id"] for run in open_runs)
        running = Counter(id_ for id_, task in self.tasks.items() if task["state"] == "running")
        working = Counter(id_ for id_, seat in self.agents.items() if seat["state"] in WORKING)
        assert of_task == running, f"open attempts of {of_task}, running tasks {running}"
        assert of_seat == working, f"open attempts in {of_seat}, working seats {working}"
        for run in self.attempts.values():
            assert (run["state"] in OPEN_ATTEMPT) is not bool(self.launches[run["launch_id"]]["ended"]), run
            if run["state"] in OPEN_ATTEMPT:
                assert self.agents[run["agent_id"]]["task_id"] == run["task_id"]
                assert self.tasks[run["task_id"]]["agent_id"] == run["agent_id"]
        for task in self.tasks.values():
            assert (task["ended_at_ms"] is not None) is (task["state"] in ENDED_TASK), task
        for swarm in self.swarms.values():
            if swarm["state"] in ("completed", "failed", "destroyed"):
                assert not [task for task in self.tasks_of(swarm) if task["state"] not in ENDED_TASK]
                assert not [seat for seat in self.seats_of(swarm) if seat["state"] not in ENDED_SEAT]

    def check_events(self) -> None:
        """Contiguous, and what they say last is what the rows say."""
        assert [event["seq"] for event in self.events] == list(range(1, len(self.events) + 1))
        rows = {**self.tasks, **self.swarms, **self.agents}
        told = telling.states(self.events)
        assert set(told) == set(rows)
        for id_, states in told.items():
            assert rows[id_]["state"] in states, f"{id_} is {rows[id_]['state']}, but events say {states}"
        counts = Counter((event.get("task"), event["kind"]) for event in self.events)
        runs = Counter(run["task_id"] for run in self.attempts.values())
        for id_, task in self.tasks.items():
            assert counts[id_, "task.created"] == 1
            assert counts[id_, "task.assigned"] == runs[id_]
            if task["state"] == "completed":
                assert counts[id_, "task.completed"] == 1, (
                    f"{id_} completed {counts[id_, 'task.completed']} times"
                )
        lost = Counter(run["task_id"] for run in self.attempts.values() if run["state"] == "lost")
        assert lost == Counter({id_: n for (id_, kind), n in counts.items() if kind == "agent.lost"})

    def check_runs(self, executions: Iterable[Execution], *, resumed: bool = False) -> None:
        """Exec at most once a launch; no two runs of a task at once; what succeeded is never run again.

        Where a killed one is `resumed` in its session, what ran to its end before is not run again either.
        """
        by_task: dict[str, list[Execution]] = defaultdict(list)
        launches: Counter[str] = Counter()
        for run in executions:
            launches[run.launch] += 1
            by_task[self.attempts[run.launch]["task_id"]].append(run)
        assert not {launch: n for launch, n in launches.items() if n > 1}
        for task, runs in by_task.items():
            runs.sort(key=lambda run: run.start)
            for run, later in itertools.pairwise(runs):
                assert not later.alive, f"{later.launch} of {task} started while {later.alive} lived"
                assert run.end is None or run.end <= later.start
                state = self.attempts[run.launch]["state"]
                assert state != "succeeded", (
                    f"{run.launch} of {task} succeeded, and {later.launch} ran it again"
                )
                assert run.code != 0 or state in ("lost", "cancelled"), f"{run} is {state}, and ran again"
        for attempt in self.attempts.values():
            if attempt["state"] == "succeeded":
                before = resumed and any(run.code == 0 for run in by_task[attempt["task_id"]])
                assert launches[attempt["launch_id"]] == 1 or before, (
                    f"{attempt['id']} succeeded and was never executed"
                )

    def check_adoptions(self, executions: Iterable[Execution]) -> None:
        """Whoever was adopted is the process that was started, by its own account."""
        pids = {run.launch: run.pid for run in executions}
        started = {e["task"]: e for e in self.events if e["kind"] == "agent.started"}
        for event in self.events:
            if event["kind"] == "agent.adopted":
                runs = [run for run in self.attempts.values() if run["task_id"] == event["task"]]
                assert event["data"]["pid"] in {pids.get(run["launch_id"]) for run in runs}, event
        for run in self.attempts.values():
            launch = self.launches[run["launch_id"]]
            if launch["pid"] is not None and launch["id"] in pids:
                assert launch["pid"] == pids[launch["id"]], f"{launch} was {pids[launch['id']]}"
        assert set(started) <= set(self.tasks)

    def check_complete(self) -> None:
        """Everything was done, once, and every seat has gone home."""
        self.check_rows()
        self.check_events()
        for swarm in self.swarms.values():
            assert (swarm["state"], swarm["outcome"]) == ("completed", "complete"), swarm
        assert {task["state"] for task in self.tasks.values()} <= {"completed"}
        assert not [run for run in self.attempts.values() if run["state"] in OPEN_ATTEMPT]

    def tasks_of(self, swarm: Row) -> list[Row]:
        """The tasks of a swarm."""
        return [task for task in self.tasks.values() if task["swarm_id"] == swarm["id"]]

    def seats_of(self, swarm: Row) -> list[Row]:
        """The seats of a swarm."""
        return [seat for seat in self.agents.values() if seat["swarm_id"] == swarm["id"]]

    def count(self, state: str, reason: str = "") -> int:
        """How many attempts are in a state, with a word in their reason."""
        return sum(
            run["state"] == state and reason in (run["reason"] or "") for run in self.attempts.values()
        )


def executions(journal: Path) -> list[Execution]:
    """Every run that the agents themselves have written down."""
    found: dict[tuple[str, str], Execution] = {}
    for path in sorted(journal.iterdir()):
        for line in path.read_text().splitlines() if path.name != "gate" else []:
            said = json.loads(line)
            key = path.name, said["launch"]
            if said["what"] == "start":
                assert key not in found, f"{key} was executed twice"
                found[key] = Execution(path.name, said["launch"], said["pid"], said["at"], said["alive"])
            else:
                found[key].end, found[key].code = said["at"], said["code"]
    return list(found.values())


def _by_id(found: Iterable[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in found}
