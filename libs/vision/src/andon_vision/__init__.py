"""Image functions that more than one Andonloop service uses: safe decoding, hashing, model preprocessing."""

from andon_vision.decode import (
    DEFAULT_LIMITS,
    DecodedImage,
    DecodeLimits,
    Pixels,
    check_limits,
    decode_image,
    inspect_image,
)
from andon_vision.errors import REASONS, ImageRefused
from andon_vision.hashing import (
    grey,
    hamming_distance,
    hamming_distances,
    hash_from_hex,
    hash_to_hex,
    near_duplicate_groups,
    perceptual_hash,
)
from andon_vision.header import MEDIA_TYPES, ImageHeader, sniff_image
from andon_vision.preprocess import (
    Frame,
    Preprocessing,
    frame_of,
    prepare,
    prepare_pixels,
    resize,
    to_eight_bit,
)

__all__ = [
    "DEFAULT_LIMITS",
    "MEDIA_TYPES",
    "REASONS",
    "DecodeLimits",
    "DecodedImage",
    "Frame",
    "ImageHeader",
    "ImageRefused",
    "Pixels",
    "Preprocessing",
    "check_limits",
    "decode_image",
    "frame_of",
    "grey",
    "hamming_distance",
    "hamming_distances",
    "hash_from_hex",
    "hash_to_hex",
    "inspect_image",
    "near_duplicate_groups",
    "perceptual_hash",
    "prepare",
    "prepare_pixels",
    "resize",
    "sniff_image",
    "to_eight_bit",
]
