"""Boards with their templates, as they came, as they could have come, and without their defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing, decode_image, frame_of, prepare_pixels
from andon_vision.difference_shape import NAMES
from andon_vision.errors import ImageRefused
from andon_vision.template import Differences, TemplateSpec, find_differences

from trainer.domain.snapshot import Row, SnapshotError
from trainer.domain.template import lessons
from trainer.ports import ImageReader

Pixels = npt.NDArray[np.uint8]

SHIFT: Final = 6.0
TURN: Final = 1.0
"""How far a station may be off: pixels in either direction, degrees."""


@dataclass(frozen=True, slots=True)
class Board:
    """One picture and its template, prepared for the release: (H, W, 3).

    Attributes:
        name: What a person calls it.
        corners: x1, y1, x2, y2 of each labelled defect in pixels of the input, (n, 4).
        kinds: The number of each defect's class, (n,).
    """

    name: str
    picture: Pixels
    template: Pixels
    corners: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.int32]

    @property
    def rows(self) -> npt.NDArray[np.float32]:
        """The labelled defects as a comparison says its own: x1, y1, x2, y2, score, class; (n, 6)."""
        return np.column_stack([self.corners, np.ones(len(self.kinds)), self.kinds]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Examples:
    """Differences to learn from.

    Attributes:
        described: Their numbers, (M, F).
        kinds: 0 for no defect, else one more than the number of the class, (M,).
        margins: How far the labelled box lies outside: left, top, right, bottom; nan where there is none, (M, 4).
    """

    described: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.int32]
    margins: npt.NDArray[np.float32]


def together(parts: Sequence[Examples]) -> Examples:
    """All of them, one after the other."""
    return Examples(
        *(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Examples))
    )


def read_boards(
    rows: Sequence[Row],
    images: Sequence[bytes],
    classes: Sequence[str],
    reader: ImageReader,
    spec: Preprocessing,
) -> list[Board]:
    """Boards of rows with templates; boxes of classes that are not learned are left out. Raises `SnapshotError`."""
    boards = []
    for row, data in zip(rows, images, strict=True):
        if row.template is None:
            raise SnapshotError(
                f"{row.id} has no template; give every board the picture of a defect-free one"
            )
        if row.is_defect and not row.boxes:
            raise SnapshotError(f"{row.id} is a defect without boxes; mark where its defects are")
        try:
            template = decode_image(reader.read(row.template)).pixels
        except ImageRefused as error:
            raise SnapshotError(f"the template of {row.id} cannot be used: {error}") from error
        whole = decode_image(data).pixels
        frame = frame_of(whole.shape[1], whole.shape[0], spec)
        left, top, right, bottom = frame.content
        scale = np.array([(right - left) / frame.width, (bottom - top) / frame.height] * 2)
        known = [box for box in row.boxes if box.class_name in classes]
        corners = np.array([(box.x, box.y, box.x + box.width, box.y + box.height) for box in known]).reshape(
            -1, 4
        )
        boards.append(
            Board(
                row.id,
                prepare_pixels(whole, spec),
                prepare_pixels(template, spec),
                (corners * scale + np.array([left, top, left, top])).astype(np.float32),
                np.array([classes.index(box.class_name) for box in known], np.int32),
            )
        )
    return boards


def examples_of(board: Board, spec: TemplateSpec) -> Examples:
    """The board's clear differences; pieces of one labelled defect each for itself and once more as one.

    Raises `ImageRefused` where the template does not match.
    """
    found = find_differences(board.picture, [board.template], spec)
    parts = [_taught(found, board)]
    taught = lessons(found.boxes, board.corners, board.kinds)
    if (taught.kinds > 0).any():
        # Unlabelled ones stay apart; those of one labelled box get one number.
        apart = np.column_stack([taught.boxes, np.where(taught.kinds > 0, -1, np.arange(len(taught.kinds)))])
        owner = np.unique(apart, axis=0, return_inverse=True)[1].reshape(-1)
        several = np.bincount(owner) > 1
        if several.any():
            whole = _taught(found.joined(owner), board, several)
            parts.append(whole)
    return together(parts)


def _taught(found: Differences, board: Board, wanted: npt.NDArray[np.bool_] | None = None) -> Examples:
    taught = lessons(found.boxes, board.corners, board.kinds)
    clear = (taught.kinds >= 0) if wanted is None else (taught.kinds >= 0) & wanted
    outside = np.multiply(taught.boxes - found.boxes, [-1.0, -1.0, 1.0, 1.0])
    outside[taught.kinds <= 0] = np.nan
    described = found.described().reshape(len(found.boxes), len(NAMES))
    return Examples(described[clear], taught.kinds[clear], outside[clear].astype(np.float32))


def disturbed(board: Board, seed: int) -> Board:
    """The board as the station could have taken it: moved, turned, in other light, with noise."""
    random = np.random.default_rng(seed)
    height, width = board.picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(random.uniform(-TURN, TURN)), 1.0)
    matrix = matrix + np.array([[0.0, 0.0, random.uniform(-SHIFT, SHIFT)] for _ in range(2)])
    moved = cv2.warpAffine(
        board.picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    slope = np.linspace(-0.15, 0.15, width)[None, :] * random.uniform(-1, 1)
    light = random.uniform(0.5, 0.9) * (1.0 + slope)
    seen = moved * light[..., None] + random.uniform(0, 40)
    seen = seen + random.normal(0.0, random.uniform(1.0, 6.0), (height, width, 1))
    return replace(
        board, picture=np.clip(seen, 0, 255).astype(np.uint8), corners=_moved(board.corners, matrix)
    )


def repaired(board: Board, spec: TemplateSpec) -> Board:
    """The board without its defects: where one is labelled, its registered template is painted over it.

    All else, the scanner's noise and how the board lies, is real. Raises `ImageRefused`.
    """
    pair = find_differences(board.picture, [board.template], spec).registered
    grey = cv2.cvtColor(board.picture, cv2.COLOR_RGB2GRAY)
    low, high = np.percentile(grey, (1, 99))
    painted = np.clip(pair.template / 255.0 * (high - low) + low, 0, 255).astype(np.uint8)
    picture = board.picture.copy()
    for left, top, right, bottom in np.round(board.corners).astype(int):
        window = np.s_[max(0, top) : bottom, max(0, left) : right]
        picture[window] = painted[window][..., None]
    return Board(board.name, picture, board.template, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


def _moved(corners: npt.NDArray[np.float32], matrix: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Upright boxes of the same size around where their centres went: a turn of a degree does not change more."""
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    half = (corners[:, 2:] - corners[:, :2]) / 2
    went = centre @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([went - half, went + half], axis=1).astype(np.float32)
