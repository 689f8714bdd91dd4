"""The lines of the table. A new one is an object in `ROWS`; nothing else has to know of it."""

from __future__ import annotations

from andon_vision import Preprocessing

from trainer.adapters.backbone import LITE2_MODULE, WEIGHTS_MODULE
from trainer.benchmark.classification import KernelMachine, LinearHead, classification_row
from trainer.benchmark.table import TableRow

NATIVE = Preprocessing(300, 300)  # what the cells' pictures are
RELEASED = LinearHead(Preprocessing(224, 224))

ROWS: tuple[TableRow, ...] = (
    classification_row(
        "elpv-classification",
        "ELPV solar cells: defective or not, the best method on frozen features",
        "elpv",
        KernelMachine(NATIVE, (WEIGHTS_MODULE, LITE2_MODULE)),
        targets={"accuracy": 0.88, "auroc": 0.94},
        headline=(),
        published="CNN 0.884, SVM 0.824 (accuracy); an SVM on pooled lite0 features at 300x300: 0.878 / 0.929",
        limits=(
            "On 401 cells (15 %) the experts themselves disagreed; there the method is as unsure as they were, on the "
            "others it is far better (see the table by certainty of the label). The backbones are frozen: they know "
            "photographs, not cells. No release: two backbones and two views cost several times a release's "
            "network, and a Gaussian kernel has no exact heat map."
        ),
    ),
    classification_row(
        "elpv-classification-released",
        "ELPV solar cells: defective or not, as `trainer train` releases it",
        "elpv",
        RELEASED,
        targets={"accuracy": 0.88, "auroc": 0.94},
        headline=(),
        published="as above",
        limits=(
            "One small backbone at 224x224, one view, and a head that is linear in means over positions, so that its "
            "heat map is exact. Maxima beside the means add 0.004 AUROC, within the noise of the folds."
        ),
    ),
    classification_row(
        "neu-classification",
        "NEU steel strip: which of six defects",
        "neu_det",
        RELEASED,
        targets={"class_accuracy": 0.99},
        headline=(),
        published="0.99 and more (accuracy)",
        limits="Two images of 1,061 are called wrong; five folds cannot tell better from this.",
    ),
    classification_row(
        "magnetic-tile-classification",
        "Magnetic tiles: good, or which of five defects",
        "magnetic_tile",
        RELEASED,
        targets={},
        headline=("auroc", "class_accuracy"),
        published="none under grouped splits",
        limits="Few independent tiles of a class: 20 images of fray, 38 of crack, each tile under several exposures.",
        compares_naive=True,
    ),
)
