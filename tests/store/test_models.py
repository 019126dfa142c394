"""What the operator said of models."""

import msgspec

from dashd.store import models
from dashd.store.models import ModelRow

A = ModelRow("a", "one", 1_000, 4_000, 100, 10, '["fast"]', '["code"]', 5)
B = ModelRow("b", None, None, None, None, None, "[]", "[]", 6)


def test_they_are_kept_in_order_and_changed_in_place(scene) -> None:
    for row in (A, B, msgspec.structs.replace(A, output_nusd=5_000)):
        scene.do(lambda tx, row=row: models.put(tx, row))
    assert models.every(scene.db) == [msgspec.structs.replace(A, output_nusd=5_000), B]
    assert models.find(scene.db, "b") == B
    assert models.find(scene.db, "c") is None
    assert models.names(A.aliases) == ("fast",)
