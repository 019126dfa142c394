"""Many ids: one failing does not stop the others."""

import json

from dashctl import many
from dashd import client_blocking


def refused(subject: str) -> dict:
    if subject.startswith("bad"):
        error = {"code": -32006, "message": f"there is no '{subject}'", "data": {"category": "not_found"}}
        raise client_blocking.Refused(error)
    return {"state": "killed"}


def test_each_id_has_its_result_in_the_order_named(output):
    out = output()
    results = many.Results(out, ["a", "bad-1", "b", "a"])
    assert [answer["id"] for answer in results.act(refused)] == ["a", "b"]
    assert results.finish(lambda result: f"{result['id']} {result['state']}") == 1
    assert out._stdout.getvalue() == "a killed\nb killed\n"
    assert out._stderr.getvalue() == "error: there is no 'bad-1'\n"


def test_a_single_id_has_the_exit_code_of_its_failure(output):
    results = many.Results(output(), ["bad"])
    results.act(refused)
    assert results.finish(str) == 3


def test_in_json_all_results_are_one_array(output):
    out = output(as_json=True)
    results = many.Results(out, ["a", "bad"])
    results.act(refused)
    results.fail("a", {"message": "late"}, 6)
    assert results.finish(str) == 1
    shown = json.loads(out._stdout.getvalue())
    assert [(result["id"], result["ok"]) for result in shown] == [("a", False), ("bad", False)]
    assert shown[1]["error"]["category"] == "not_found"
