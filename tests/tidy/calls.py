"""What code may not call or catch: second clocks, hidden chance, broad excepts, shells, asyncio, print."""

import ast
import functools
from collections.abc import Iterator

from tests.tidy import CHILD_PROGRAMS, PACKAGES, Module, Tree, modules
from tests.tidy.layers import imports

CLOCK = "dashd/clock.py"
NOW = frozenset(
    {
        "time.time",
        "time.time_ns",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    }
)
CHANCE = ("random.", "secrets.")
# A client makes its own idempotency keys (uuid4); in the daemon even these come from the clock.
CHANCE_IN_DAEMON = (*CHANCE, "os.urandom.", "os.getrandom.", "uuid.uuid1.", "uuid.uuid4.")
SHELLS = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})

# The only places that may catch Exception. The writer hands it to the caller whose operation raised it; the
# others log it with the id of the thing it happened to.
BOUNDARIES = frozenset(
    {
        "dashd/rpc/connection.py",
        "dashd/rpc/dispatch.py",
        "dashd/runtime/supervisor.py",
        "dashd/store/writer.py",
    }
)

MOCK_CLOCKS = frozenset({"autojump_clock", "mock_clock", "MockClock"})
REAL_WORK = frozenset(
    {
        "subprocess",
        "threading",
        "run_process",
        "open_process",
        "to_thread",
        "from_thread",
        "fork",
        "daemon_process",
    }
)


@functools.cache
def _uses(module: Module) -> list[tuple[str, ast.AST]]:
    """Each dotted name the module uses, as its import statements explain it, with the place."""
    known: dict[str, str] = {}
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    uses = [(target, node) for target, node, _ in imports(module)]
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = ast.unparse(node).partition(".")
            if "(" not in rest:
                uses.append((known.get(first, first) + dot + rest, node))
    return uses


def one_clock(tree: Tree) -> Iterator[str]:
    """Only dashd/clock.py asks what time it is."""
    for module in modules(tree, *PACKAGES):
        for name, node in _uses(module):
            if name in NOW and module.path != CLOCK:
                yield f"{module.at(node)}: {name}; take the instant as an argument (dashd.clock knows it)"


def no_hidden_chance(tree: Tree) -> Iterator[str]:
    """Only dashd/clock.py draws random bits."""
    for module in modules(tree, *PACKAGES):
        for name, node in _uses(module):
            drawn = CHANCE_IN_DAEMON if module.path.startswith("dashd/") else CHANCE
            if f"{name}.".startswith(drawn) and module.path != CLOCK:
                yield f"{module.at(node)}: {name}; take the bits as an argument (dashd.clock draws them)"


def no_shell(tree: Tree) -> Iterator[str]:
    """Programs are started by argv; no text is ever given to a shell."""
    for module in modules(tree, *PACKAGES, "tests"):
        for name, node in _uses(module):
            if name in SHELLS:
                yield f"{module.at(node)}: {name}; run an argv list instead"
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) != "False":
                yield f"{module.at(node)}: shell=; run an argv list instead"


def no_asyncio(tree: Tree) -> Iterator[str]:
    """The console's live view is the one place where prompt_toolkit brings asyncio along."""
    for module in modules(tree, *PACKAGES, "tests"):
        if not module.path.startswith(("dashctl/console/", "tests/dashctl/")):
            for target, node, _ in imports(module):
                if target.split(".")[0] == "asyncio":
                    yield f"{module.at(node)}: asyncio; use trio (only dashctl/console lives on asyncio)"


def no_print(tree: Tree) -> Iterator[str]:
    """dashd speaks through its log and its socket."""
    for module in modules(tree, "dashd"):
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                yield f"{module.at(node)}: print; log it, or write a command's answer to sys.stdout"


# The doors to a terminal, whose own tests feed them everything; and programs whose stdout is a spool.
PRINTERS = frozenset({"dashctl/terminal.py", "dashctl/demo/check.py", *CHILD_PROGRAMS})
PRINTS = frozenset(
    {
        *("print", "sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write"),
        *(
            "sys.stderr.buffer.write",
            "sys.stdout.writelines",
            "sys.stderr.writelines",
            "pprint",
            "out._stdout.write",
        ),
    }
)


def one_way_to_print(tree: Tree) -> Iterator[str]:
    """What goes to a terminal has passed `wire.safe`, or is a text of our own."""
    for module in modules(tree, *PACKAGES):
        if module.path in PRINTERS:
            continue
        for node in ast.walk(module.syntax):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in PRINTS:
                continue
            if not all(_is_safe(argument) for argument in node.args):
                yield (
                    f"{module.at(node)}: {ast.unparse(node.func)} of a text that others may have written; "
                    "dashctl writes by terminal.Output, all others pass it through wire.safe in this call"
                )


def _is_safe(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_safe(node.left) and _is_safe(node.right)
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).startswith("safe.")
    return isinstance(node, ast.Constant)


def no_broad_except(tree: Tree) -> Iterator[str]:
    """A bug is caught by nobody; whoever must clean up after anything passes it on."""
    for module in modules(tree, *PACKAGES):
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.ExceptHandler):
                yield from _broad_handler(module, node)
            elif isinstance(node, ast.Call) and _suppresses_all(node):
                yield f"{module.at(node)}: suppresses every error; name the classes you expect"


def _suppresses_all(call: ast.Call) -> bool:
    broad = {"Exception", "BaseException"} & {ast.unparse(argument) for argument in call.args}
    return bool(broad) and ast.unparse(call.func).endswith("suppress")


def _broad_handler(module: Module, handler: ast.ExceptHandler) -> Iterator[str]:
    kind = handler.type
    caught = {ast.unparse(k) for k in (kind.elts if isinstance(kind, ast.Tuple) else [kind]) if k}
    if "Exception" in caught and module.path not in BOUNDARIES:
        yield (
            f"{module.at(handler)}: except Exception; catch the classes you expect, clean up in `finally`, "
            f"and leave the rest to {', '.join(sorted(BOUNDARIES))}"
        )
    if (kind is None or "BaseException" in caught) and not _passes_on(module, handler):
        yield f"{module.at(handler)}: swallows cancellation and bugs; end the handler with a bare `raise`"


def _passes_on(module: Module, handler: ast.ExceptHandler) -> bool:
    """Whether the last thing the handler does is to raise, or in a forked child to end the process."""
    last = handler.body[-1]
    ends = isinstance(last, ast.Expr) and ast.unparse(last.value).startswith("os._exit(")
    return isinstance(last, ast.Raise) or (ends and module.path in CHILD_PROGRAMS)


THREADS = "dashd/threads.py"
IN_THREADS = frozenset({"trio.to_thread.run_sync", "trio.Path", "trio.open_file"})


def one_way_to_a_thread(tree: Tree) -> Iterator[str]:
    """Where there is no thread for it, it waits or is gone without; dashd does not end."""
    for module in modules(tree, "dashd"):
        for name, node in _uses(module):
            if name in IN_THREADS and module.path != THREADS:
                yield (
                    f"{module.at(node)}: {name}, which raises where there is no thread; "
                    "dashd.threads.run waits for one, at_once and or_here are for what must not wait"
                )


def one_kind_of_time(tree: Tree) -> Iterator[str]:
    """A mock clock jumps while a real child or thread works, so a test has one or the other."""
    for module in modules(tree, "tests"):
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                names |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
                if names & MOCK_CLOCKS and names & REAL_WORK:
                    yield (
                        f"{module.at(node)}: {node.name} has a mock clock and {min(names & REAL_WORK)}, "
                        "during which it jumps; use the real clock with trio.fail_after, or a fake"
                    )
