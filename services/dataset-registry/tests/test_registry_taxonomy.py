"""Taxonomies over HTTP: drafted, compared, published, with the relabel work that follows; what was in force when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from andon_chassis.testing import context
from andon_events.severity import Place, SeverityRules, Subject

from .conftest import Registry, capture
from .labeling_room import GOOD, Room, box, marked
from .test_registry_api import problem


def _class(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "definition": f"what {name} is", "severity": "minor", "is_defect": True, **more}


SPLIT = {
    "classes": [
        _class("good", is_defect=False),
        _class("crack", severity="major"),
        _class("light-scratch", split_from="scratch"),
        _class("deep-scratch", split_from="scratch", severity="major"),
    ]
}
DECISIONS = [
    {"class_name": "scratch", "relabel": "relabel"},
    {"class_name": "good", "relabel": "none", "reason": "they were looked at in May"},
    {"class_name": "crack", "relabel": "none", "reason": "only its words changed"},
]


class TestDrafts:
    def begin(self, registry: Registry, **body: Any) -> Any:
        made = registry.http.post("/v1/taxonomy-drafts", json={"created_by": "olga", **body})
        assert made.status_code == 201, made.text
        return made.json()

    def save(self, registry: Registry, draft: Any, document: Any, by: str = "ada", **more: Any) -> Any:
        return registry.http.put(
            f"/v1/taxonomy-drafts/{draft['draft_id']}",
            json={"document": document, "saved_by": by, **more},
            headers={"If-Match": f'"{draft["version"]}"'},
        )

    def publish(self, registry: Registry, draft: Any, version: str = "t2", **body: Any) -> Any:
        return registry.http.post(
            f"/v1/taxonomy-drafts/{draft['draft_id']}/publication",
            json={"version": version, "published_by": "olga", **body},
            headers={"If-Match": f'"{draft["version"]}"'},
        )

    def test_it_starts_as_the_version_in_force(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        draft = self.begin(registry, title="Scratches")
        assert (draft["based_on"], draft["version"], draft["authors"]) == ("t1", 1, ["olga"])
        assert [c["name"] for c in draft["document"]["classes"]] == ["good", "crack", "scratch"]
        assert {p["code"] for p in draft["problems"] if p["blocking"]} == {"definition-missing"}

    def test_it_may_be_half_done_and_has_several_authors(self, registry: Registry) -> None:
        draft = self.begin(registry)
        saved = self.save(registry, draft, {"classes": [{"definition": "to be named"}]}).json()
        assert (saved["version"], saved["authors"]) == (2, ["olga", "ada"])
        assert {"name-missing", "good-class-missing"} <= {p["code"] for p in saved["problems"]}
        read = registry.http.get(f"/v1/taxonomy-drafts/{draft['draft_id']}")
        assert (read.headers["etag"], read.json()) == ('"2"', saved)

    def test_two_people_save_at_once_and_one_is_told(self, registry: Registry) -> None:
        draft = self.begin(registry)
        assert self.save(registry, draft, SPLIT, by="ada").status_code == 200
        refused = self.save(registry, draft, {"classes": []}, by="ben")
        problem(refused, 412, "draft-changed")
        assert refused.json()["version"] == 2
        problem(
            registry.http.put(
                f"/v1/taxonomy-drafts/{draft['draft_id']}", json={"document": {}, "saved_by": "ben"}
            ),
            422,
            "invalid-request",
        )

    def test_a_discarded_draft_is_over(self, registry: Registry) -> None:
        draft = self.begin(registry)
        path, match = f"/v1/taxonomy-drafts/{draft['draft_id']}/discard", {"If-Match": '"1"'}
        done = registry.http.post(path, json={"discarded_by": "olga"}, headers=match).json()
        assert done["state"] == "discarded"
        problem(self.save(registry, done, SPLIT), 409, "draft-closed")
        assert registry.get("/v1/taxonomy-drafts", state="open")["items"] == []
        assert len(registry.get("/v1/taxonomy-drafts")["items"]) == 1

    def test_it_is_compared_with_the_version_in_force(self, registry: Registry) -> None:
        room = Room(registry)
        captures = room.captured(2)
        body = {
            "approved_by": "ada",
            "labels": [{"capture_id": captures[0], "class_name": "scratch"}],
        }
        assert registry.http.post("/v1/labels", json=body).status_code == 201
        draft = self.save(registry, self.begin(registry), SPLIT).json()
        compared = registry.get(f"/v1/taxonomy-drafts/{draft['draft_id']}/comparison")
        assert (compared["old_version"], compared["new_version"]) == ("t1", None)
        split = compared["changes"][0]
        assert (split["kind"], split["after"]) == ("split", ["light-scratch", "deep-scratch"])
        assert {a["class_name"]: a["labels"] for a in compared["affected"]} == {
            "scratch": 1,
            "good": 0,
            "crack": 0,
        }

    def test_publishing_queues_the_relabel_work(self, registry: Registry) -> None:
        """A label by annotation, one by import of a capture, one of an image that never ran on a line."""
        room = Room(registry)
        captures = room.captured(4)
        task = self._labelled(room, captures[0], marked(box("scratch")))
        self._labelled(room, captures[1], GOOD, name="other")
        strange = "00000000-0000-4000-8000-000000000001"
        described = {"context": context().to_avro(), "image": registry.image.to_avro()}
        labels = [
            {"capture_id": captures[2], "class_name": "scratch"},
            {"capture_id": captures[3], "class_name": "crack"},
            {"capture_id": strange, "class_name": "scratch", **described},
        ]
        assert (
            registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": labels}).status_code == 201
        )
        draft = self.save(registry, self.begin(registry), SPLIT).json()
        published = self.publish(registry, draft, decisions=DECISIONS, note="scratches differ").json()
        assert (published["version"], published["images"]) == ("t2", 3)
        batch = registry.get(f"/v1/batches/{published['batch_id']}")
        assert (batch["taxonomy_version"], batch["progress"]["to-label"]) == ("t2", 3)
        (*_, event) = registry.published("taxonomy.published")
        assert (event.taxonomy_version, [c.name for c in event.classes][2:]) == (
            "t2",
            ["light-scratch", "deep-scratch"],
        )
        given = {room.next(person, batch_id=published["batch_id"])["image"]["image_id"] for person in "xyz"}
        assert given == {task["image"]["image_id"], captures[2], strange}
        detail = registry.get("/v1/taxonomies/t2")
        assert (detail["previous"], detail["publication"]["batch_id"]) == ("t1", published["batch_id"])
        assert [d["relabel"] for d in detail["publication"]["decisions"]] == ["relabel", "none", "none"]
        problem(self.publish(registry, draft, "t3", decisions=DECISIONS), 409, "draft-closed")

    def test_what_comes_in_later_under_the_old_version_is_queued_as_well(self, registry: Registry) -> None:
        room = Room(registry)
        before, after = room.captured(2)
        late = room.batch([after], "late")
        self._labelled(room, before, marked(box("scratch")), "early")
        draft = self.save(registry, self.begin(registry), SPLIT).json()
        published = self.publish(registry, draft, decisions=DECISIONS).json()
        assert published["images"] == 1
        path = "/v1/taxonomies/t2/relabel"
        assert registry.http.post(path, json={"queued_by": "olga"}).json()["images"] == 0
        task = room.said(room.next("ada", batch_id=late), "ada", marked(box("scratch")))
        room.next("olga", "review")
        room.reviewed(task, "olga", "approve")
        queued = registry.http.post(path, json={"queued_by": "olga"}).json()
        assert (queued["batch_id"], queued["images"]) == (published["batch_id"], 1)
        problem(
            registry.http.post("/v1/taxonomies/t1/relabel", json={"queued_by": "o"}),
            409,
            "nothing-to-relabel",
        )

    def test_an_example_must_be_there(self, registry: Registry) -> None:
        registry.take(registry.captured("1"))
        here, gone = capture("1"), "00000000-0000-4000-8000-000000000009"
        examples = [{"image_id": here, "kind": "gold"}, {"image_id": gone, "kind": "hard-negative"}]
        document = {"classes": [_class("good", is_defect=False), _class("crack", examples=examples)]}
        draft = self.save(registry, self.begin(registry), document).json()
        assert [p["where"] for p in draft["problems"] if p["blocking"]] == ["classes[1].examples[1]"]
        problem(self.publish(registry, draft), 422, "taxonomy-not-sound")

    def test_nothing_is_half_published(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        draft = self.save(registry, self.begin(registry), SPLIT).json()
        problem(self.publish(registry, draft), 422, "relabel-decision-missing")
        problem(self.publish(registry, draft, "t1", decisions=DECISIONS), 409, "version-taken")
        problem(self.publish(registry, draft, "in-force", decisions=DECISIONS), 422, "version-reserved")
        assert registry.get("/v1/taxonomies/in-force")["version"] == "t1"
        assert registry.get(f"/v1/taxonomy-drafts/{draft['draft_id']}")["state"] == "open"
        unsound = self.save(registry, draft, {"classes": SPLIT["classes"][1:]}).json()
        problem(self.publish(registry, unsound, decisions=DECISIONS), 422, "taxonomy-not-sound")

    def test_a_draft_that_was_overtaken_is_compared_again(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        draft = self.save(registry, self.begin(registry), SPLIT).json()
        registry.publish_taxonomy("t1b")
        problem(self.publish(registry, draft, decisions=DECISIONS), 409, "draft-outdated")
        draft = self.save(registry, draft, SPLIT, based_on="t1b").json()
        assert self.publish(registry, draft, decisions=DECISIONS).status_code == 201

    def test_without_labels_there_is_no_batch(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        draft = self.save(registry, self.begin(registry), SPLIT).json()
        published = self.publish(registry, draft, decisions=DECISIONS).json()
        assert (published["batch_id"], published["images"]) == (None, 0)
        assert registry.get("/v1/batches")["items"] == []

    def _labelled(self, room: Room, image: str, annotation: Any, name: str = "b") -> Any:
        batch_id = room.batch([image], name)
        task = room.said(room.next("ada", batch_id=batch_id), "ada", annotation)
        room.next("olga", "review")
        return room.reviewed(task, "olga", "approve")


class TestHistory:
    def test_the_version_in_force_at_any_moment(self, registry: Registry) -> None:
        start = registry.clock.now()
        for version in ("t1", "t2"):
            registry.publish_taxonomy(version)
            registry.clock.advance(3600)

        def at(hours: float) -> Any:
            moment = (start + timedelta(hours=hours)).isoformat()
            return registry.http.get("/v1/taxonomies/in-force", params={"at": moment})

        assert [at(hours).json()["version"] for hours in (0, 0.9, 1, 9)] == ["t1", "t1", "t2", "t2"]
        assert registry.get("/v1/taxonomies/in-force")["replaced_at"] is None
        assert registry.get("/v1/taxonomies/t1")["replaced_at"] is not None
        problem(at(-1), 404, "unknown-taxonomy-in-force")
        problem(registry.http.get("/v1/taxonomies/t9"), 404, "unknown-taxonomy")

    def test_what_a_label_meant(self, registry: Registry) -> None:
        registry.take(registry.captured("1"))
        body = {"approved_by": "ada", "labels": [{"capture_id": capture("1"), "class_name": "scratch"}]}
        registry.http.post("/v1/labels", json=body)
        registry.clock.advance(60)
        registry.publish_taxonomy()
        registry.clock.advance(60)
        registry.http.post("/v1/labels", json=body | {"approved_by": "ben"})
        assert registry.http.put("/v1/taxonomies/t2", json=SPLIT).status_code == 201
        latest, first = [label["label_id"] for label in registry.get("/v1/labels")["items"]]
        made = registry.get(f"/v1/labels/{latest}/taxonomy")
        assert (made["taxonomy_version"], [c["name"] for c in made["entries"]]) == ("t1", ["scratch"])
        assert ([s["kind"] for s in made["since"]], made["today"]) == (
            ["split"],
            ["light-scratch", "deep-scratch"],
        )
        assert registry.get(f"/v1/labels/{first}/taxonomy")["taxonomy_version"] is None
        problem(registry.http.get(f"/v1/labels/{capture('1')}/taxonomy"), 404, "unknown-label")

    def test_two_versions_side_by_side(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        assert registry.http.put("/v1/taxonomies/t2", json=SPLIT).status_code == 201
        compared = registry.get("/v1/taxonomies/t2/comparison")
        assert (compared["old_version"], compared["changes"][0]["kind"]) == ("t1", "split")
        assert registry.get("/v1/taxonomies/t1/comparison")["old_version"] is None
        assert registry.get("/v1/taxonomies/t2/comparison", other="t2")["changes"] == []


class TestWhole:
    """A taxonomy that is put as a whole, as before there were drafts."""

    def test_the_same_again_changes_nothing_also_when_written_by_an_earlier_release(
        self, registry: Registry
    ) -> None:
        classes = [{"name": "good", "severity": "minor", "definition": "", "is_defect": False}]
        with registry.database.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO taxonomies (version, document, published_by, published_at)"
                " VALUES ('t1', %s, 'olga', now())",
                (f'{{"classes": {str(classes).replace(chr(39), chr(34)).replace("False", "false")}}}',),
            )
        again = registry.http.put("/v1/taxonomies/t1", json={"classes": classes})
        assert (again.status_code, again.json()) == (200, {"published": False})
        assert registry.get("/v1/taxonomies")["items"][0]["classes"][0]["region_rule"] is None

    def test_rules_and_lineage_must_make_sense(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        rules = [{"class_name": "dent", "severity": "major"}]
        problem(
            registry.http.put("/v1/taxonomies/t2", json=SPLIT | {"rules": rules}), 422, "taxonomy-not-sound"
        )
        lost = {"classes": [*SPLIT["classes"], _class("dent", renamed_from="bump")]}
        problem(registry.http.put("/v1/taxonomies/t2", json=lost), 422, "taxonomy-not-sound")

    def test_why_is_it_severe(self, registry: Registry) -> None:
        rules = [
            {"class_name": "crack", "severity": "critical", "customer": "ACME"},
            {"class_name": "crack", "severity": "minor", "station": "cell-1", "disposition": "rework"},
        ]
        assert registry.http.put(
            "/v1/taxonomies/t1", json={"classes": SPLIT["classes"][:2], "rules": rules}
        ).is_success
        path = "/v1/taxonomies/t1/severity"
        asked = registry.get(path, class_name="crack", station="cell-1", customer="ACME")
        assert asked["severity"]["value"] == "critical"
        assert asked["severity"]["rule"]["customer"] == "ACME"
        assert asked["severity"]["beat"][0]["why"] == "it names as many, but not the customer"
        assert (asked["disposition"]["value"], asked["disposition"]["beat"]) == ("rework", [])
        problem(registry.http.get(path, params={"class_name": "dent"}), 404, "unknown-class")

    def test_rules_travel_and_the_answer_is_what_the_router_decides_by(self, registry: Registry) -> None:
        rules = [
            {"class_name": "crack", "severity": "minor", "station": "line-a/cell-1"},
            {"station": "cell-1", "severity": "critical", "disposition": "hold"},
        ]
        body = {"classes": SPLIT["classes"][:2], "rules": rules}
        assert registry.http.put("/v1/taxonomies/t1", json=body).is_success
        (published,) = registry.published("taxonomy.published")
        assert [(rule.station, rule.severity, rule.disposition) for rule in published.rules] == [
            ("line-a/cell-1", "minor", None),
            ("cell-1", "critical", "hold"),
        ]
        by_the_event = SeverityRules(published.rules)
        for station in ("line-a/cell-1", "line-b/cell-1", "cell-1", "line-a/cell-2"):
            asked = registry.get("/v1/taxonomies/t1/severity", class_name="crack", station=station)
            crack = next(known for known in published.classes if known.name == "crack")
            settled = by_the_event.settle(Subject(crack.name, crack.severity), Place(station=station))
            told = [(asked[what]["value"], asked[what]["rule"]) for what in ("severity", "disposition")]
            assert told == [(one.value, one.rule and one.rule.to_avro()) for one in settled]
