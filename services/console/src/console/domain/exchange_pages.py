"""Imports and exports in words: how far one is, what a form says about it, and which formats there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from console.domain.words import count

WRITTEN = {
    "coco": "COCO",
    "yolo": "YOLO, boxes",
    "yolo-segmentation": "YOLO, polygons",
    "voc": "PASCAL VOC",
    "cvat": "CVAT for images",
    "label-studio": "Label Studio",
    "datumaro": "Datumaro",
    "csv": "CSV, all of it",
    "masks": "Masks, one for each mark",
    "masks-indexed": "Masks, one for each image",
}
"""Formats that are written and read."""

READ = {**WRITTEN, "masks-beside": "A mask beside each picture", "deeppcb": "DeepPCB"}

CONTEXT = {
    "line": "Line",
    "station": "Station",
    "camera": "Camera",
    "part_number": "Part number",
    "product_variant": "Product variant",
    "batch": "Production batch",
    "shift": "Shift",
    "operator": "Operator",
    "supplier": "Supplier",
    "material": "Material",
    "mm_per_pixel": "Scale, in mm per pixel",
    "captured_at": "Taken at, with its time zone",
}
"""What all images of an archive may have in common."""

OPTIONS = {
    "context": "How they were taken",
    "mapping": "Names of classes",
    "only_good": "What is in order is imported",
    "unmarked": "An image without a word is",
}
"""How an archive is to be understood, in words."""

_STATES = {
    "waiting": ("Waits", "pending"),
    "checking": ("Being checked", "route-to-reviewer"),
    "importing": ("Being imported", "route-to-reviewer"),
    "done": ("Done", "pass"),
    "refused": ("Refused", "reject"),
    "failed": ("Stopped", "hold"),
}


def state(found: Mapping[str, Any]) -> tuple[str, str]:
    """The state of an import in words, and its tone."""
    return _STATES[found["state"]]


def running(found: Mapping[str, Any]) -> bool:
    """Whether more is still to come."""
    return found["state"] in ("waiting", "checking", "importing")


def share(found: Mapping[str, Any]) -> float | None:
    """Percent of the images that are written; None where none will be, or nobody knows how many there are."""
    if found["state"] == "done":
        return 100.0
    if found["state"] == "refused":
        return None
    return round(100 * found["done"] / found["total"], 1) if found["total"] else None


def progress(found: Mapping[str, Any]) -> str:
    """How far an import is, in one sentence."""
    checked, problems = count(found["checked"]), found["problems"]
    trouble = f"{count(problems)} problem{'s' * (problems != 1)}"
    match found["state"]:
        case "waiting":
            return "It begins in a moment."
        case "checking":
            return f"{checked} images looked at so far, {trouble}."
        case "importing":
            return f"{count(found['done'])} of {count(found['total'] or 0)} images written, {trouble}."
        case "done":
            return f"{count(found['done'])} images, {count(found['added'])} of them new; {trouble}."
        case "refused":
            return f"Nothing was imported: {trouble} in {checked} images. Put that right, or import what is in order."
    return (
        f"{found['failure'] or 'It could not be finished.'} Hand in the same archive again, and it goes on."
    )


def asked(form: Mapping[str, str], person: str) -> tuple[dict[str, str], dict[str, str]]:
    """The fields of an import, and what is wrong in the form by field."""
    wrong: dict[str, str] = {}
    source = form.get("source", "").strip()
    if not source:
        wrong["source"] = "Where the images come from: it tells them from others of the same name."
    mapping: dict[str, str] = {}
    for line in form.get("mapping", "").splitlines():
        theirs, _, ours = (part.strip() for part in line.partition("="))
        if theirs and ours:
            mapping[theirs] = ours
        elif line.strip():
            wrong["mapping"] = f"Write “theirs = ours”; “{line.strip()}” has no such form."
    context = {name: text for name in CONTEXT if (text := form.get(name, "").strip())}
    if "synthetic" in form:
        context["synthetic"] = "true"
    fields = {
        "source": source,
        "imported_by": person,
        "mapping": json.dumps(mapping, ensure_ascii=False),
        "context": json.dumps(context, ensure_ascii=False),
        "only_good": "true" if "only_good" in form else "false",
        "unmarked": "without-label" if form.get("unmarked") == "without-label" else "good",
    }
    if form.get("format") in READ:
        fields["format"] = form["format"]
    return fields, wrong
