"""How the registry says no, and how it does not answer at all."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import ValidationError

from andon_registry_client import models as m


class Problem(Exception):
    """The registry refused; nothing was changed (RFC 9457).

    Attributes:
        status: HTTP status.
        code: What it is, stable, lower-case with dashes.
        advice: What to do about it.
        errors: Of `invalid-request`: each field that is wrong.
        problems: Of an annotation: all that is wrong with it.
        current: Of a draft that another window saved since: that one.
        body: The whole answer.
    """

    def __init__(self, said: m.Problem, body: dict[str, Any]) -> None:
        super().__init__(f"{said.title}: {said.detail}")
        self.status = said.status
        self.code = said.title
        self.advice = said.detail
        self.errors = said.errors or []
        self.problems = said.problems or []
        self.current = said.current
        self.body = body

    @classmethod
    def of(cls, answer: httpx.Response) -> Problem:
        """What an answer says that has been read; also where something on the way gave it, and it is no problem."""
        try:
            body: dict[str, Any] = answer.json()
            return cls(m.Problem.model_validate(body), body)
        except (ValueError, ValidationError):
            said = m.Problem(
                type="about:blank",
                title="no-problem",
                status=answer.status_code,
                detail=f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}.",
            )
            return cls(said, {})


class Unreachable(Exception):
    """The registry did not answer, after all repeats that are safe; what was asked may or may not have been done."""
