"""`dashctl program …` against a scripted dashd."""

import json

from dashd.wire.methods import program


def _program(**more):
    made = {"name": "pi", "version": "1.5.2", "state": "installed", "path": "/p/cli.js", "note": ""}
    return program.Program(**(made | more))


def test_install_says_where_it_is(dashd, ctl):
    done = program.ProgramInstalled(name="pi", version="1.5.2", path="/p/cli.js", changed=True, took_s=6.3)
    dashd.on("program.install", done)
    ran = ctl("program", "install", "pi")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        ["Installing pi; it can take a minute", "pi 1.5.2: installed in 6.3 s: /p/cli.js"],
    )
    dashd.on(
        "program.install",
        program.ProgramInstalled(name="pi", version="1", path="/p", changed=False, took_s=0),
    )
    assert ctl("program", "install", "pi").out.splitlines()[1] == "pi 1: there already: /p"
    assert json.loads(ctl("program", "install", "pi", "--json").out)[0]["path"] == "/p"


def test_list_shows_what_to_do(dashd, ctl):
    missing = _program(name="node", state="missing", path="", note="dashctl program install node")
    dashd.on("program.list", program.ProgramList(programs=[_program(), missing]))
    lines = [" ".join(line.split()) for line in ctl("program", "list").out.splitlines()[1:]]
    assert lines[0].startswith("pi 1.5.2 installed /p/cli.js")
    assert lines[1].endswith("missing dashctl program install node")
    assert [row["name"] for row in json.loads(ctl("program", "list", "--json").out)] == ["pi", "node"]


def test_check_names_the_faults_and_fails(dashd, ctl):
    dashd.on(
        "program.list", program.ProgramList(programs=[_program(), _program(name="node", state="missing")])
    )
    good = program.ProgramChecked(name="pi", ok=True, version="1.5.2", path="/p")
    dashd.on("program.check", good)
    ran = ctl("program", "check")
    assert (ran.code, ran.out) == (0, "pi 1.5.2: ok\n")
    bad = program.ProgramChecked(name="pi", ok=False, version="", path="/p", faults=["its files are others"])
    dashd.on("program.check", bad)
    ran = ctl("program", "check", "pi")
    assert (ran.code, ran.out.splitlines()) == (1, ["pi : not ok", "  its files are others"])


def test_check_of_nothing_says_what_to_do(dashd, ctl):
    dashd.on("program.list", program.ProgramList(programs=[_program(state="missing")]))
    ran = ctl("program", "check")
    assert (ran.code, "dashctl program install openclaw" in ran.out) == (0, True)
