"""XML files, one record at a time, each element with its line.

Plain expat from the standard library, because it knows the line. Documents that declare a type are refused: no format
here has one, and entities that grow (XML bombs) or reach for other files come only that way.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

from dataset_registry.domain.interchange import Place, unreadable

_CHUNK = 1 << 16
_DEEPEST = 50
_MOST_BYTES = 64 << 20
"""Of text and attributes in one record."""


@dataclass(slots=True)
class Node:
    """An element.

    Attributes:
        text: Without the spaces around it.
    """

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, tag: str) -> list[Node]:
        """Children of that name."""
        return [child for child in self.children if child.tag == tag]

    def child(self, tag: str) -> Node:
        """The first child of that name. Raises ValueError when there is none."""
        for child in self.children:
            if child.tag == tag:
                return child
        raise ValueError(f"<{self.tag}> has no <{tag}>")

    def said(self, tag: str, default: str = "") -> str:
        """Text of the first child of that name."""
        return next((child.text for child in self.children if child.tag == tag), default)

    def attribute(self, name: str) -> str:
        """Raises ValueError when it is missing."""
        if name not in self.attributes:
            raise ValueError(f"<{self.tag}> has no {name}")
        return self.attributes[name]


def number(text: str) -> float:
    """A finite number. Raises ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def records(file: IO[bytes], name: str, tags: Collection[str]) -> Iterator[Node]:
    """Each element with one of these names, when it ends; nothing else is kept. Raises Unreadable."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    open_nodes: list[Node] = []
    done: list[Node] = []
    depth = taken = 0

    def refuse(reason: str, advice: str) -> Exception:
        return unreadable(Place(name, parser.CurrentLineNumber), reason, advice)

    def on_doctype(*_: object) -> None:
        raise refuse(
            "xml-with-doctype", "It declares a document type; remove the <!DOCTYPE ...> and send it again."
        )

    def on_start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, taken
        depth += 1
        if depth > _DEEPEST:
            raise refuse(
                "xml-too-deep", f"Elements lie more than {_DEEPEST} deep in each other; no format here does."
            )
        if open_nodes or tag in tags:
            node = Node(tag, attributes, parser.CurrentLineNumber)
            taken = taken + len(tag) + sum(map(len, attributes.values())) if open_nodes else 0
            if open_nodes:
                open_nodes[-1].children.append(node)
            open_nodes.append(node)

    def on_end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        if open_nodes:
            node = open_nodes.pop()
            node.text = node.text.strip()
            if not open_nodes:
                done.append(node)

    def on_text(text: str) -> None:
        nonlocal taken
        if open_nodes:
            taken += len(text)
            if taken > _MOST_BYTES:
                raise refuse(
                    "element-too-large", f"One record has more than {_MOST_BYTES} characters; split it."
                )
            open_nodes[-1].text += text

    parser.StartDoctypeDeclHandler = on_doctype
    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    parser.CharacterDataHandler = on_text
    try:
        while chunk := file.read(_CHUNK):
            parser.Parse(chunk, False)
            yield from done
            done.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise refuse("broken-xml", f"It is no XML: {error}. Export it again, as UTF-8.") from error
    yield from done
