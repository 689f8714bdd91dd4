"""The typed client against the registry as it is."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import httpx
import pytest
from andon_registry_client import Problem, RegistryClient
from andon_registry_client import models as m
from fastapi.testclient import TestClient

from .conftest import Registry
from .dataset_room import label
from .labeling_room import Room
from .test_registry_imports import coco, five
from .test_registry_sign_in import PASSWORD, Guarded


class Losing(httpx.BaseTransport):
    """Carries everything, and loses the first answers."""

    def __init__(self, to: TestClient, lost: int = 0) -> None:
        self._to = to
        self.lost = lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._to._transport.handle_request(request)
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("the connection was closed")
        return answer


def client(http: TestClient, lost: int = 0) -> RegistryClient:
    return RegistryClient(str(http.base_url), transport=Losing(http, lost), pause_s=0.0)


def test_a_write_whose_answer_was_lost_is_done_once(registry: Registry) -> None:
    asked = client(registry.http, lost=2)
    begin = m.DraftBegin(title="cracks, in two", created_by="dana")
    made = asked.begin_draft(begin)
    assert made.repeated
    assert [draft.draft_id for draft in asked.each_draft()] == [made.draft_id]
    assert not asked.begin_draft(begin).repeated
    assert len(asked.list_drafts().items) == 2


def test_an_archive_comes_in_goes_out_and_becomes_a_version(registry: Registry, tmp_path: Path) -> None:
    registry.publish_taxonomy()
    (tmp_path / "labels.zip").write_bytes(five())
    with client(registry.http, lost=1) as asked:
        asked_for = {"line": "line-a", "station": "cell-1"}
        started = asked.import_archive(
            tmp_path / "labels.zip", source="set-a", imported_by="olga", context=asked_for
        )
        done = asked.wait_for_import(started.import_id, patience_s=0)
        assert (done.state, done.done, done.archive_name) == ("done", 5, "labels.zip")
        assert [one.import_id for one in asked.each_import()] == [done.import_id]
        images = list(asked.each_image(line="line-a", limit=2))
        assert len({image.image_id for image in images}) == 5

        got = asked.export_labels(tmp_path / "coco.zip", format="coco", line="line-a", pictures=True)
        assert (
            got.media_type == "application/zip" and got.size_bytes == (tmp_path / "coco.zip").stat().st_size
        )
        with zipfile.ZipFile(tmp_path / "coco.zip") as archive:
            assert len([name for name in archive.namelist() if name.endswith(".png")]) == 5

        shares = {"train": 0.6, "test": 0.4}
        version = asked.make_snapshot(m.SnapshotIn(split=m.SplitIn(keys=["part"], shares=shares)))
        assert version.items == 5 and set(version.parts) == {"train", "test"}
        held = io.BytesIO()
        asked.read_manifest_file(version.hash, held)
        assert hashlib.sha256(held.getvalue()).hexdigest() == version.hash
        assert len(asked.read_manifest(version.hash)["items"]) == 5


def test_what_is_wrong_in_an_archive_can_be_read(registry: Registry) -> None:
    registry.publish_taxonomy()
    asked = client(registry.http)
    wrong = io.BytesIO(coco(["p.png", "q.png"], [("p.png", [0, 0, 900, 8]), ("q.png", [0, 0, 4, 4])]))
    refused = asked.wait_for_import(
        asked.import_archive(wrong, source="s", imported_by="olga", format="coco").import_id
    )
    assert refused.state == "refused"
    found = list(asked.each_import_problem(refused.import_id, limit=1))
    assert {problem.reason for problem in found} == {"outside-image", "picture-missing"}


def test_a_task_is_answered_under_the_version_that_was_read(registry: Registry, tmp_path: Path) -> None:
    room = Room(registry)
    (image,) = room.captured(1)
    room.batch([image])
    asked = client(registry.http, lost=1)
    task = asked.take_next_task(m.NextIn(person="ada")).task
    assert task is not None
    seen = asked.read_task(task.task_id, person="ada")
    assert seen.etag == f'"{seen.version}"'

    begun = m.DraftIn(person="ada", annotation=m.AnnotationIn(verdict="labeled", classes=["crack"]))
    draft = asked.save_draft(task.task_id, begun)
    other = m.DraftIn(person="ada", annotation=m.AnnotationIn(verdict="unusable"))
    with pytest.raises(Problem) as caught:
        asked.save_draft(task.task_id, other, if_match=draft.version + 1)
    assert (caught.value.status, caught.value.code) == (412, "draft-changed")
    assert caught.value.current is not None
    assert caught.value.current["annotation"]["classes"] == ["crack"]

    box = m.ShapeIn(shape_id="s1", kind="box", class_name="frog", box=[1.0, 1.0, 4.0, 4.0])
    said = m.TaskAnswerIn(person="ada", annotation=m.AnnotationIn(verdict="labeled", shapes=[box]))
    with pytest.raises(Problem) as caught:
        asked.annotate(task.task_id, said, if_match=seen.version)
    assert [(wrong.reason, wrong.shape_id) for wrong in caught.value.problems] == [("unknown-class", "s1")]
    said = m.TaskAnswerIn(person="ada", annotation=m.AnnotationIn(verdict="labeled", classes=["good"]))
    answered = asked.annotate(task.task_id, said, if_match=seen.etag or "")
    assert answered.state == "to-review" and answered.version > seen.version

    got = asked.read_picture(image, tmp_path / "p", view="original")
    again = asked.read_picture(image, tmp_path / "p", view="original", if_none_match=got.etag)
    assert got.size_bytes and again.unchanged


def test_lists_are_gone_through_to_their_end(registry: Registry) -> None:
    label(registry, 0, 7)
    asked = client(registry.http)
    labels = list(asked.each_label(line="line-a", limit=3))
    assert len({one.label_id for one in labels}) == len(labels) == 7
    assert [one.label_id for one in asked.list_labels(limit=3).items] == [one.label_id for one in labels[:3]]
    assert [entry.action for entry in asked.each_audit_entry()] == ["import"]


def test_who_signs_in_need_not_say_who_they_are(registry: Registry) -> None:
    guarded = Guarded(registry)
    asked = client(guarded.http)
    with pytest.raises(Problem) as caught:
        asked.list_batches()
    assert (caught.value.status, caught.value.code) == (401, "signed-out")
    assert asked.sign_in_as("olga", PASSWORD).roles == ["qa-owner"]
    classes = [
        m.ClassIn(name="good", severity="minor", is_defect=False),
        m.ClassIn(name="crack", severity="major", is_defect=True),
    ]
    assert asked.put_taxonomy("t1", m.TaxonomyIn(classes=classes)).published
    assert asked.read_taxonomy("t1").published_by == "olga"
    assert asked.take_next_task(m.NextIn()).task is None
    asked.sign_out()
    with pytest.raises(Problem, match="signed-out"):
        asked.list_batches()
