"""Every way to a terminal, fed with everything that a terminal could take for an order (invariant 12).

Two halves: each method of `Output` under hypothesis; and each command that shows something, against a dashd
whose every text carries an attack.
"""

import contextlib
import io
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from dashctl import render, terminal
from dashd.wire import methods
from dashd.wire.methods import approval, audit, gate, model, provider
from tests.dashctl import answers
from tests.fakes.hostile import EVERYTHING, HOSTILE, made, offending, poisoned


class Screen(io.StringIO):
    """A terminal that keeps what it was sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def opened(**given: Any) -> tuple[terminal.Output, io.StringIO]:
    both = Screen()
    return terminal.Output(both, both, io.StringIO("y\n"), {"COLUMNS": "60"}, **given), both


def test_what_the_test_itself_lets_pass() -> None:
    assert offending("\x1b[31mred\x1b[0m plain\n\t日本語") == set()
    assert offending(EVERYTHING) >= {"\x1b", "\x9b", "\u202e", "\u200b", "\ud800", "\x00", "\x7f"}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("color", ["always", "never"])
@settings(max_examples=60)
@given(text=HOSTILE)
def test_every_method_of_the_output(color: str, as_json: bool, text: str) -> None:
    out, shown = opened(color=color, as_json=as_json)
    out.line(text, (text, "red"))
    out.block(text, indent="  ")
    out.stream(text)
    out.data({text: [text]})
    out.data_line([text])
    out.note(text, ("x", "dim"))
    out.passing(text)
    out.failure({"message": text, "hint": text, "path": text}, subject=text)
    out.ask(text)
    out.flush()
    assert offending(shown.getvalue()) == set()
    shown.getvalue().encode("utf-8")


@settings(max_examples=60)
@given(text=HOSTILE)
def test_tables_and_facts(text: str) -> None:
    out, shown = opened(color="always")
    render.table(out, (render.Column("A", "a"), render.Column("B", "b", least=5)), [{"a": text, "b": text}])
    render.facts(out, [(text, text), ("values", render.values({text: text, "deep": [text, {text: text}]}))])
    assert offending(shown.getvalue()) == set()


S, A, T = answers.SWARM, answers.AGENT, answers.TASK
COMMANDS = (
    "status", "swarm list", f"swarm get {S}", f"swarm report {S}", f"swarm costs {S}", "swarm plan x",
    f"swarm pause {S}", f"swarm scale {S} 25", f"agent list --swarm {S}", f"agent get {A}", f"agent why {A}",
    f"agent result {A}", f"agent logs {A}", f"task list --swarm {S}", f"task get {T}", "events --limit 5",
    f"budget status {S}", f"budget history {S}", "budget export", f"budget extend {S} 1", "model list",
    "model get x", "provider list", "provider test x", "gate list", "gate set g tool", "approval list",
    "program list", "program install pi", "program check pi", "approval list --state any",
    "approval resolve ap1 allow", "audit list", "audit verify", "audit export",
)  # fmt: skip


def extra() -> dict[str, Any]:
    """Answers that `answers.put_into` does not have."""
    one = approval.Approval(
        id="ap1", gate="g", kind="tool", what="w", swarm=S, agent=A, asked_by="a", context={"k": "v"},
        state="open", who="operator", two_person=False, votes=["v"], asked_at=answers.AT, deadline=answers.AT,
        at_deadline="deny", decided_by="d", decided_at=answers.AT, note="",
    )  # fmt: skip
    done = msgspec.structs.replace(one, state="denied", note="n")
    rule = gate.Gate(
        name="g", kind="tool", pattern="p", above=0, verdict="ask", who="operator", two_person=False,
        deadline_s=60, at_deadline="deny",
    )  # fmt: skip
    row = audit.AuditRow(
        seq=1, at=answers.AT, at_ms=1, actor="a", action="b", subject="c", data={"params": {"why": "w"}},
        prev="p", hash="h",
    )  # fmt: skip
    sealed = audit.SealedRow(prev="p", seq=1, at_ms=1, actor="a", action="b", subject="c", data="d", hash="h")
    resolved = approval.Resolved(id="ap1", state="open", changed=True, votes=["v"], waits_for="w")
    one_provider = provider.Provider(
        name="p", format="anthropic", url="u", secret="none", circuit="closed", frozen="f", models=1
    )
    return {
        "approval.list": approval.ApprovalList(items=[one, done]),
        "approval.resolve": approval.ApprovalsResolved(items=[resolved], cursor=1),
        "gate.list": gate.GateList(gates=[rule]),
        "gate.set": rule,
        "audit.list": audit.AuditList(rows=[row], head="h"),
        "audit.verify": audit.AuditVerified(ok=False, rows=0, head="h", broken=1, why="w"),
        "audit.export": audit.AuditExported(rows=[sealed], head="h"),
        "provider.list": provider.ProviderList(providers=[one_provider]),
        "provider.test": provider.ProviderTested(name="p", ok=False, status=500, latency_ms=1.0, text="t"),
        "model.list": model_list(),
        "model.get": model_list().models[0] if hasattr(model_list(), "models") else model_list(),
    }


def model_list() -> Any:
    return made(model.METHODS[0].result)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_lets_an_attack_through(dashd: Any, ctl: Any, command: str) -> None:
    """With every text of every answer poisoned; plain and as JSON."""
    for method, row in methods.METHODS.items():
        with contextlib.suppress(msgspec.ValidationError, KeyError):
            dashd.on(method, poisoned(made(row.result)))
    answers.put_into(Poisoning(dashd))  # type: ignore[arg-type]
    for method, answer in extra().items():
        dashd.on(method, poisoned(answer))
    for columns, more in ((0, ()), (0, ("--json",)), (0, ("--color", "always")), (70, ()), (70, ("--json",))):
        ran = ctl(*command.split(), *more, columns=columns)
        assert offending(ran.out + ran.err) == set(), (command, columns, more)
        assert ran.out + ran.err


class Poisoning:
    """What `answers.put_into` is given: it poisons each answer on its way."""

    def __init__(self, dashd: Any) -> None:
        self._dashd = dashd

    def on(self, method: str, answer: Any) -> None:
        if callable(answer):
            self._dashd.on(method, lambda params: poisoned(answer(params)))
        else:
            self._dashd.on(method, poisoned(answer))
