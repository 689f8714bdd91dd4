"""Archives as imports read them: any format, pictures looked at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from andon_chassis.objects import IMAGES, object_ref
from andon_vision.decode import DEFAULT_LIMITS, decode_image
from andon_vision.errors import ImageRefused
from andon_vision.hashing import perceptual_hash
from andon_vision.preprocess import to_eight_bit

from dataset_registry import formats
from dataset_registry.domain.interchange import Read, Unreadable
from dataset_registry.formats import archives, trees
from dataset_registry.formats.marks import Material
from dataset_registry.ports_imports import Archive, Picture


@contextmanager
def open_archive(path: Path, name: str) -> Iterator[Archive]:
    """The archive in this file, under the name that its person gave it; one that is unsafe or damaged holds nothing but
    this problem."""
    with ExitStack() as stack:
        archive: Archive
        try:
            archive = _Archive(stack.enter_context(archives.opened(path, name=name)))
        except Unreadable as error:
            archive = _Refused(error)
        yield archive


class _Archive:
    def __init__(self, tree: trees.Tree) -> None:
        self._material = Material(tree)

    def images(self, format_name: str | None) -> Read:
        return formats.read(self._material, format_name)

    def picture(self, name: str) -> str | None:
        return self._material.pictures.find(name)

    def look(self, path: str) -> Picture | tuple[str, str]:
        try:
            data = self.read(path)
            decoded = decode_image(data)
        except ImageRefused as error:
            return error.reason, error.advice
        except Unreadable as error:
            return error.problem.reason, error.problem.advice
        header = decoded.header
        ref = object_ref(IMAGES, data, header.media_type)
        return Picture(ref, header.width, header.height, perceptual_hash(to_eight_bit(decoded.pixels)))

    def read(self, path: str) -> bytes:
        return trees.read(self._material.tree, path, DEFAULT_LIMITS.max_bytes)


class _Refused:
    def __init__(self, error: Unreadable) -> None:
        self._error = error

    def images(self, format_name: str | None) -> Read:
        yield self._error.problem

    def picture(self, name: str) -> str | None:
        raise self._error

    def look(self, path: str) -> Picture | tuple[str, str]:
        raise self._error

    def read(self, path: str) -> bytes:
        raise self._error
