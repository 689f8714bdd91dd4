"""The published contract is what the code does."""

from __future__ import annotations

import json

from review_router.contract import DEFAULT, main


def test_the_contract_is_as_the_code_is() -> None:
    assert main(["--check"]) == 0, "run `make generate`"
    assert set(json.loads(DEFAULT.read_text())["paths"]) == {"/v1/captures/{capture_id}/decisions"}
