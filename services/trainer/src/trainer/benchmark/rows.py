"""The lines of the table. A new one is an object in `ROWS`; nothing else has to know of it."""

from __future__ import annotations

from andon_vision import Preprocessing

from trainer.adapters.backbone import LITE2_MODULE, WEIGHTS_MODULE
from trainer.anomaly import QUICK_METHODS, Grid
from trainer.benchmark.anomaly import anomaly_row
from trainer.benchmark.classification import KernelMachine, ReleasedHead, classification_row
from trainer.benchmark.detection import detection_row
from trainer.benchmark.segmentation import Decoding, segmentation_row
from trainer.benchmark.table import TableRow
from trainer.benchmark.template import template_row

NATIVE = Preprocessing(300, 300)  # what the cells' pictures are
RELEASED = ReleasedHead()


def _quick(side: int) -> Grid:
    """Gaussians on one square input."""
    return Grid((Preprocessing(side, side),), QUICK_METHODS)


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
            "One small backbone and one look at each cell: a second backbone and a second view add 0.004 AUROC for "
            "four times the network. Then labels, as above. Input and kind of head are chosen inside each training "
            "part; which layers and maxima a kernel machine sees was chosen while looking at these folds."
        ),
        efforts={
            "linear head alone, 224x224": ReleasedHead(kernels=False),
            "224x224 alone": ReleasedHead(RELEASED.inputs[:1]),
        },
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
    detection_row(
        "neu-detection",
        "NEU steel strip: where which of six defects is",
        "neu_det",
        targets={"map_50": 0.70},
        published="YOLO-class detectors, fine-tuned whole on a GPU: 0.75 to 0.83",
        limits=(
            "How boxes are drawn: at an overlap of 0.3 an unseen fold has over 0.8, for crazing and rolled-in scale "
            "are drawn loosely (AP at one half about 0.3 and 0.5). Then few images and a frozen backbone that knows "
            "photographs, not steel: one look had 0.79 on what it learned from and 0.60 on what it did not. Looking "
            "in four turns brings 0.07 and costs four times the network. Rounds, turns and the overlap from which two "
            "boxes are one were chosen on the second of these folds."
        ),
    ),
    segmentation_row(
        "magnetic-tile-segmentation",
        "Magnetic tiles: which pixels show which of five defects, cracks measured",
        "magnetic_tile",
        Decoding(),
        targets={"dice": 0.70},
        published="MCUE (Huang et al. 2020), the set's own paper: IoU by class, images split at random",
        limits=(
            "Few independent tiles of a class (fray has 20 images), uneven surfaces called where there are none, and "
            "cracks three pixels wide: annotated masks themselves, drawn by the release's cells of four pixels, have a "
            "Dice of 0.67 there. A backbone that knows photographs and stays frozen. Rounds, batch and decoder were "
            "chosen with these folds in sight."
        ),
        efforts={f"{rounds} rounds": Decoding().with_rounds(rounds) for rounds in (5, 10)},
    ),
    segmentation_row(
        "magnetic-tile-segmentation-synthetic",
        "Magnetic tiles: the same for half the rounds, learned from synthetic rare defects too",
        "magnetic_tile",
        Decoding(synthetic_share=1.0).with_rounds(10),
        targets={},
        headline=("dice", "dice fray", "dice crack"),
        published="as above",
        limits="As above; what is blended comes from the few real defects.",
        efforts={"as many rounds without synthetic pictures": Decoding().with_rounds(10)},
    ),
    anomaly_row(
        "magnetic-tile-anomaly",
        "Magnetic tiles: defective or not, learned from good tiles alone",
        "magnetic_tile",
        Grid(methods=QUICK_METHODS),
        targets={"auroc": 0.95},
        published=(
            "PatchCore 0.979, CS-Flow 0.993 with large backbones and easier splits; anomalib 2.7 with lite0 on tiles "
            "it never saw: PaDiM 0.878, PatchCore 0.729"
        ),
        limits=(
            "Few independent good tiles (227), of which many carry stains and scratches that look like faint cracks, "
            "and backbones that know photographs and stay frozen. Backbone, size, layers and share of positions are "
            "chosen inside each training part; how coarse and soft positions are was chosen while looking at these "
            "folds. A position is 32 pixels, which makes the heat map coarse. The patch memory is not among the "
            "choices: it ranked far behind and takes most of the time."
        ),
        compares_naive=True,
        efforts={
            "lite0 at 128x128": _quick(128).with_usual_backbone(),
            "lite0 at 256x256": _quick(256).with_usual_backbone(),
            "lite0 at both inputs": Grid(methods=QUICK_METHODS).with_usual_backbone(),
        },
    ),
    anomaly_row(
        "elpv-anomaly",
        "ELPV solar cells: defective or not, learned from good cells alone",
        "elpv",
        _quick(256),
        targets={},
        headline=("auroc", "auprc"),
        published="none for good cells alone",
        limits=(
            "Many defects are faint, cells come in two kinds, and the experts called a part of the good ones doubtful. "
            "One input, because its maps take minutes."
        ),
    ),
    template_row(
        "deeppcb-template",
        "DeepPCB boards: differences to the template, designs never seen",
        "deeppcb",
        targets={"map33": 0.97, "f1": 0.96},
        published="0.986 / 0.982",
        limits=(
            "Large defects drawn as a web of thin strokes fall into pieces, spurs a pixel or two high look like "
            "the edges of a rough etch, and one picture of board 44000 has labels and boxes burned into it."
        ),
    ),
)
