"""Labels from files of other tools."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from andon_events.records import ObjectRef
from fastapi import APIRouter, File, Form, Response, UploadFile
from pydantic import ValidationError
from starlette.background import BackgroundTask

from dataset_registry.adapters.imports_archive import open_archive
from dataset_registry.adapters.imports_store import document
from dataset_registry.api.context import Context, Cursor, Limit, found
from dataset_registry.api.contract import REPEATABLE
from dataset_registry.api.imports_shapes import (
    FormatIn,
    Import,
    ImportIn,
    ImportObjectIn,
    ImportProblem,
    Unmarked,
)
from dataset_registry.api.shapes import Name, Page
from dataset_registry.domain.refusals import invalid
from dataset_registry.handlers import imports
from dataset_registry.ports import Row, Session

_ADVICE = "look at GET /v1/imports."
Document = Annotated[
    str,
    Form(
        max_length=200_000,
        description="JSON, as in ImportObjectIn.",
        json_schema_extra={
            "contentMediaType": "application/json",
            "contentSchema": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    ),
]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Import, "description": "The same import is known."}
}


def importer(context: Context) -> imports.Importer:
    """Does the work of imports."""
    return imports.Importer(context.sessions, context.objects, open_archive, document, context.clock)


def router(context: Context) -> APIRouter:
    """Routes under /v1/imports."""
    routes = APIRouter(prefix="/v1/imports", tags=["imports"])
    worker = importer(context)

    @routes.post("", response_model=Import, status_code=202, responses=_ANSWERS, openapi_extra=REPEATABLE)
    def import_archive(
        archive: Annotated[UploadFile, File(description="zip, tar, or a single JSON, XML or CSV file")],
        source: Annotated[Name, Form()],
        imported_by: Annotated[Name, Form()],
        format: Annotated[FormatIn | None, Form()] = None,
        mapping: Document = "{}",
        context: Document = "{}",
        only_good: Annotated[bool, Form()] = False,
        unmarked: Annotated[Unmarked, Form()] = "good",
    ) -> Response:
        """Import labels, with their pictures or for images that are known. The same archive, asked for in the same way,
        is the same import: it goes on where it was, and nothing is there twice."""
        try:
            asked = ImportIn.model_validate(
                {
                    "source": source,
                    "imported_by": imported_by,
                    "format": format,
                    "mapping": _document(mapping, "mapping"),
                    "context": _document(context, "context"),
                    "only_good": only_good,
                    "unmarked": unmarked,
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise invalid(
                "invalid-request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
            ) from error
        return accept(asked, imports.keep(objects, archive.file, archive.filename or "archive"))

    @routes.post(
        "/objects", response_model=Import, status_code=202, responses=_ANSWERS, openapi_extra=REPEATABLE
    )
    def import_object(body: ImportObjectIn) -> Response:
        """Import labels from an archive that lies in the object store."""
        ref = ObjectRef(**body.object.model_dump())
        objects.get(ref)  # whoever names its content may have it read, and nobody else
        archive = {
            "name": body.name,
            "sha256": ref.sha256,
            "size_bytes": ref.size_bytes,
            "parts": [ref.to_avro()],
        }
        return accept(ImportIn.model_validate(body.model_dump(exclude={"name", "object"})), archive)

    @routes.get("", response_model=Page[Import])
    def list_imports(limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Imports, the last first."""
        with sessions() as session:
            page = session.imports.imports(limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @routes.get("/{import_id}", response_model=Import)
    def read_import(import_id: UUID) -> Row:
        """How far an import is."""
        with sessions() as session:
            return _read(session, str(import_id))

    @routes.get("/{import_id}/problems", response_model=Page[ImportProblem])
    def list_import_problems(import_id: UUID, limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """What is wrong in an archive, in its order, with file and line."""
        with sessions() as session:
            _read(session, str(import_id))
            page = session.imports.problems(str(import_id), limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    objects, sessions, clock, command = context.objects, context.sessions, context.clock, context.command

    def accept(asked: ImportIn, archive: Row) -> Response:
        def work(session: Session) -> tuple[int, Row]:
            guide = session.labeling.guide(None)
            version = guide.version if guide else None
            import_id, new = imports.accept(
                session.imports, archive, asked.model_dump(mode="json"), version, clock.now()
            )
            return 202 if new else 200, _read(session, import_id)

        answer = command(None, f"import {archive['sha256']}", asked, Import, work)
        import_id = json.loads(bytes(answer.body))["import_id"]
        answer.background = BackgroundTask(worker.run, import_id)
        return answer

    return routes


def _read(session: Session, import_id: str) -> Row:
    return found(session.imports.read(import_id), "import", import_id, _ADVICE)


def _document(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise invalid("invalid-request", f"{what} is no JSON: {error}.") from error
