"""The document agrees with the table, and the file with the document."""

import json

import msgspec

from dashd.wire import methods, openrpc
from dashd.wire.methods import rpc


def test_the_file_is_up_to_date():
    assert openrpc.PATH.read_bytes() == openrpc.written(), "run `python -m dashd.wire.openrpc`"


def test_every_method_with_its_parameters():
    document = json.loads(openrpc.written())
    found = {method["name"]: method for method in document["methods"]}
    assert found.keys() == methods.METHODS.keys()
    for name, row in methods.METHODS.items():
        assert [each["name"] for each in found[name]["params"]] == list(row.params.__struct_fields__)
        assert found[name]["paramStructure"] == "by-name"
    task = found["swarm.create"]["params"][0]
    assert (task["name"], task["required"]) == ("task", True)


def test_every_reference_leads_somewhere():
    document = json.loads(openrpc.written())

    def references(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    found = set(references(document))
    assert found
    for reference in found:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_it_is_what_discover_promises():
    decoded = msgspec.json.decode(bytes(openrpc.encoded()), type=rpc.Discovered)
    assert decoded.openrpc == openrpc.OPENRPC
    codes = [error["code"] for error in decoded.components["errors"].values()]
    assert len(codes) == len(set(codes))
    assert -32002 not in codes
