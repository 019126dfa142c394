"""The import table and the six floors of design.md section 4, as data, and the rules that read them.

Imports inside functions, under TYPE_CHECKING and by `import_module("...")` count like any other.
"""

import ast
import functools
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.tidy import CHILD_PROGRAMS, PACKAGES, Module, Tree, modules

EVERYTHING = ("dashd",)

# Unit -> what it may import of Dash beside itself. A unit is a package or a top-level module of dashd.
TABLE: dict[str, tuple[str, ...]] = {
    "wire": (),
    "clock": (),
    "threads": (),
    "schema": (),
    "notify": (),
    "memory": (),
    "open_files": (),
    "log": ("dashd.clock", "dashd.wire.safe"),
    "config": ("dashd.wire", "dashd.domain"),
    "crash_points": ("dashd.wire.errors",),
    "doctor": ("dashd.config", "dashd.jail", "dashd.open_files", "dashd.store", "dashd.wire"),
    "domain": ("dashd.wire.errors",),
    "client": ("dashd.wire",),
    "client_blocking": (),
    "http": ("dashd.wire", "dashd.client"),
    "dashctl": ("dashd.wire", "dashd.client_blocking"),
    "mcp_server": ("dashd.wire", "dashd.client"),
    "store": (
        "dashd.domain",
        "dashd.wire.events",
        "dashd.wire.errors",
        "dashd.clock",
        "dashd.schema",
        "dashd.threads",
    ),
    "jail": ("dashd.domain.scope", "dashd.threads"),
    "service": ("dashd.domain", "dashd.store", "dashd.wire", "dashd.clock", "dashd.threads"),
    "proxy": (
        "dashd.domain",
        "dashd.store",
        "dashd.wire.errors",
        "dashd.wire.events",
        "dashd.wire.safe",
        "dashd.clock",
        "dashd.threads",
    ),
    "drivers": ("dashd.jail", "dashd.domain", "dashd.wire", "dashd.threads"),
    "workspace": ("dashd.jail", "dashd.domain", "dashd.threads"),
    "runtime": (
        "dashd.domain",
        "dashd.store",
        "dashd.drivers",
        "dashd.jail",
        "dashd.workspace",
        "dashd.wire.events",
        "dashd.wire.safe",
        "dashd.clock",
        "dashd.threads",
    ),
    "rpc": ("dashd.service", "dashd.wire"),
    "gateway_doors": EVERYTHING,
    "gateway_ports": EVERYTHING,
    "instance_ports": EVERYTHING,
    "model_doors": EVERYTHING,
    "model_ports": EVERYTHING,
    "agent_ports": EVERYTHING,
    "workspace_ports": EVERYTHING,
    "session_ports": EVERYTHING,
    "unprivileged": ("dashd.config", "dashd.wire.errors"),
    "model_side": EVERYTHING,
    "outside_door": EVERYTHING,
    "program_ports": EVERYTHING,
    "app": EVERYTHING,
    "__main__": EVERYTHING,
}

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"wire", "clock", "threads", "schema", "notify", "memory", "open_files", "log"}),
    frozenset(
        {"domain", "config", "crash_points", "client", "client_blocking", "http", "dashctl", "mcp_server"}
    ),
    frozenset({"store", "jail", "unprivileged"}),
    frozenset({"service", "proxy", "drivers", "workspace", "doctor"}),
    frozenset({"rpc", "runtime"}),
    frozenset(
        {
            *("model_doors", "model_ports", "agent_ports", "program_ports", "outside_door", "model_side"),
            "gateway_doors",
            "gateway_ports",
            "instance_ports",
            *("workspace_ports", "session_ports", "app", "__main__"),
        }
    ),
)

# What a unit never imports although others may: the table's "never" column, outside of Dash.
NEVER: dict[str, frozenset[str]] = {
    "wire": frozenset({"trio", "apsw", "pydantic"}),
    "domain": frozenset(
        {"trio", "apsw", "os", "time", "random", "logging", "socket", "subprocess", "threading", "sqlite3"}
    ),
    "client_blocking": frozenset({"trio", "msgspec"}),
}

# Third party -> the only units that may import it (section 11); trio and msgspec serve everybody.
THIRD_PARTIES: dict[str, frozenset[str]] = {
    "trio": frozenset(TABLE),
    "msgspec": frozenset(TABLE),
    "apsw": frozenset({"store"}),
    "pydantic": frozenset({"config"}),
    "mcp": frozenset({"mcp_server", "dashctl"}),
    "mcp_types": frozenset({"mcp_server", "dashctl"}),
    "anyio": frozenset({"mcp_server"}),
    "rich": frozenset({"dashctl"}),
    "prompt_toolkit": frozenset({"dashctl"}),
    "h11": frozenset({"proxy", "http"}),
    "httpx2": frozenset({"proxy"}),
    "genai_prices": frozenset({"proxy"}),
    "trio_websocket": frozenset({"drivers"}),
    "starlette": frozenset({"http"}),
    "hypercorn": frozenset({"http"}),
}


class Import(NamedTuple):
    target: str
    node: ast.AST
    at_load: bool


def unit(name: str) -> str:
    """`dashd.wire.errors` -> `wire`, `dashctl.render` -> `dashctl`, `dashd` -> ``."""
    parts = name.split(".")
    return (parts[1] if len(parts) > 1 else "") if parts[0] == "dashd" else parts[0]


@functools.cache
def imports(module: Module) -> list[Import]:
    return list(_imports(module, module.syntax, at_load=True))


def _imports(module: Module, node: ast.AST, *, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        targets: list[str] = []
        if isinstance(child, ast.Import):
            targets = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            targets = [f"{_source(module, child)}.{alias.name}" for alias in child.names]
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith(
            ("import_module", "__import__")
        ):
            targets = [
                a.value for a in child.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
        yield from (Import(target, child, at_load) for target in targets)
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield from _imports(module, child, at_load=at_load and not later)


def _source(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    above = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*above, *filter(None, [node.module])])


def _within(target: str, prefixes: tuple[str, ...]) -> bool:
    return any(target == prefix or target.startswith(prefix + ".") for prefix in prefixes)


def _of_dash(target: str) -> bool:
    return target.split(".")[0] in PACKAGES


def import_table(tree: Tree) -> Iterator[str]:
    """Each unit imports what its row of the table names, and nothing else of Dash."""
    for module in modules(tree, *PACKAGES):
        own = unit(module.name)
        if own and own not in TABLE:
            yield f"{module.path}: '{own}' has no row in the import table; add one in tests/tidy/layers.py"
            continue
        home = (f"dashd.{own}",) if module.name.startswith("dashd.") else (own or "dashd",)
        may = (*home, *TABLE.get(own, ()), "dashd.__version__")
        for target, node, _ in imports(module):
            if _of_dash(target) and target != "dashd" and not _within(target, may):
                yield (
                    f"{module.at(node)}: {own or 'dashd'} may not import {target}; "
                    f"it may import {', '.join(TABLE.get(own, ())) or 'nothing of Dash'}. "
                    "Where it needs more, the caller hands over a value or a function (app.py composes)"
                )


def no_arrow_up(tree: Tree) -> Iterator[str]:
    """No floor imports a higher one, whatever the table says."""
    height = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    for module in modules(tree, *PACKAGES):
        own = height.get(unit(module.name), 0)
        for target, node, _ in imports(module):
            if _of_dash(target) and height.get(unit(target), 0) > own:
                yield (
                    f"{module.at(node)}: floor {own} imports {target} of floor {height[unit(target)]}; "
                    "let app.py hand the function down instead"
                )


def third_parties(tree: Tree) -> Iterator[str]:
    """Other people's packages are imported only where the design puts them."""
    for module in modules(tree, *PACKAGES):
        own = unit(module.name)
        for target, node, _ in imports(module):
            top = target.split(".")[0]
            if top in NEVER.get(own, ()):
                yield f"{module.at(node)}: {own} never imports {top}; take what it would give as an argument"
            elif _of_dash(target) or top in sys.stdlib_module_names:
                continue
            elif own not in THIRD_PARTIES.get(top, ()):
                homes = ", ".join(sorted(THIRD_PARTIES.get(top, ()))) or "no package"
                yield f"{module.at(node)}: {top} belongs to {homes}; call that instead"


def child_programs_stand_alone(tree: Tree) -> Iterator[str]:
    """What runs outside of dashd's environment and what that imports, has the standard library alone."""
    known = {module.name: module for module in modules(tree, "dashd")}
    todo = [module for module in known.values() if module.path in CHILD_PROGRAMS]
    seen: set[str] = set()
    while todo:
        module = todo.pop()
        if module.path in seen:
            continue
        seen.add(module.path)
        for target, node, _ in imports(module):
            if _of_dash(target):
                todo += [known[name] for name in _loaded(target) if name in known]
            elif target.split(".")[0] not in sys.stdlib_module_names:
                yield f"{module.at(node)}: imports {target}; a child program has the standard library alone"


def _loaded(target: str) -> list[str]:
    """What importing `a.b.c` runs: a, a.b and a.b.c."""
    parts = target.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


# Of the wire, what has the standard library alone and loads in no time: every command prints by it.
LIGHT = ("dashd.wire.safe",)


def dashctl_loads_light(tree: Tree) -> Iterator[str]:
    """`dashctl` starts in tens of milliseconds: it imports the wire only where a command needs it."""
    for module in modules(tree, "dashctl"):
        if not module.path.startswith("dashctl/console/"):
            for target, node, at_load in imports(module):
                if at_load and _within(target, ("dashd.wire",)) and target not in LIGHT:
                    yield f"{module.at(node)}: imports {target} at load; import it inside the function"
