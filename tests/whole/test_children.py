"""Children of agents behind real walls: each generation reaches less than the one above it."""

import pytest

from dashd.client_blocking import Refused
from tests.jail import inside
from tests.whole.daemons import DaemonProcess

pytestmark = pytest.mark.slow
END_S_MAX = 60.0
LOOK = """for each in src docs lib/deep; do
  cat $each/a >/dev/null 2>&1 && echo reads $each
  (echo {item} > $each/by-{item}) 2>/dev/null && echo writes $each
done
case {item} in parent|child) while [ ! -e docs/go ]; do sleep 0.05; done;; esac; true"""


@pytest.fixture
def dashd(tmp_path):
    """A daemon whose agents have walls."""
    inside.of_grade("B")
    (tmp_path / "dash").mkdir()
    made = DaemonProcess(tmp_path / "dash", DASH_JAIL_REQUIRED="true")
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    for name in ("src", "docs", "lib/deep"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a").write_text("here\n")
    return folder


def said(dashd, swarm: str) -> dict[str, list[str]]:
    """By item, what each agent could do."""
    report = dashd.call("swarm.report", swarm=swarm, detail="full")
    assert not report["failures"], report["failures"]
    return {each["item"]: each["result"].rstrip("\n").split("\n") for each in report["results"]}


def test_each_generation_reaches_less_whatever_it_tries(dashd, work):
    made = dashd.call(
        "swarm.create",
        task="t",
        items=["parent"],
        argv=["sh", "-c", LOOK],
        cwd=str(work),
        scope=["src", "docs"],
    )
    parent = f"{made['id']}-001"
    child = dashd.call("agent.spawn", task="t", item="child", parent=parent, scope=["src"], read=["docs"])
    grand = dashd.call("agent.spawn", task="t", item="grand", parent=child["id"], scope=[], read=["src"])
    alike = dashd.call("agent.spawn", task="t", item="alike", parent=parent)
    assert (child["id"], grand["id"], alike["id"]) == (f"{parent}.1", f"{parent}.1.1", f"{parent}.2")
    (work / "docs" / "go").touch()
    waited = dashd.call(
        "event.wait",
        since=made["cursor"],
        swarm=made["id"],
        kinds=["swarm.completed", "swarm.failed"],
        timeout_s=END_S_MAX,
    )
    assert not waited["timed_out"], dashd.log()
    everything = ["reads src", "writes src", "reads docs", "writes docs", "reads lib/deep"]
    assert said(dashd, made["id"]) == {
        "parent": everything,
        "alike": everything,
        "child": ["reads src", "writes src", "reads docs"],
        "grand": ["reads src"],
    }
    found = dashd.call("agent.get", agent=grand["id"])
    assert (found["parent"], found["write"], found["read"]) == (child["id"], [], ["src"])
    assert found["grade"] in ("A", "B")
    assert dashd.call("budget.status", budget=grand["id"])["budget"]["parent"] == child["id"]


def test_a_child_is_refused_what_its_parent_has_not_and_goes_with_it(dashd, work, tmp_path):
    made = dashd.call("swarm.create", task="t", argv=["sleep", "60"], cwd=str(work), scope=["src"])
    parent = f"{made['id']}-001"
    child = dashd.call("agent.spawn", task="t", parent=parent)
    for more in ({"scope": ["docs"]}, {"scope": [str(tmp_path)]}, {"hosts": ["example.org"]}):
        with pytest.raises(Refused, match="not granted"):
            dashd.call("agent.spawn", task="t", parent=parent, **more)
    dashd.call("agent.kill", agent=parent)
    waited = dashd.call(
        "event.wait", since=made["cursor"], swarm=made["id"], kinds=["swarm.failed"], timeout_s=END_S_MAX
    )
    assert not waited["timed_out"], dashd.log()
    found = dashd.call("agent.get", agent=child["id"])
    assert (found["state"], found["liveness"]) == ("killed", "dead")
    assert found["cause"] == f"its parent {parent} was killed"
