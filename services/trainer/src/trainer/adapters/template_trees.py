"""The classifier of differences: trees grown at random by scikit-learn, and the same trees as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision.template import DIFFERENCES, PROBABILITIES
from onnx import TensorProto, helper
from sklearn.ensemble import ExtraTreesClassifier

from trainer.adapters.backbone import OPSET
from trainer.adapters.template_boards import Examples

TREES: Final = 200
_ML_OPSET: Final = 3


class Forest:
    """Probabilities of no defect and of each class for described differences.

    Args:
        examples: What to learn from; a class without an example is never answered.
        classes: How many defect classes there are.
    """

    def __init__(self, examples: Examples, classes: int) -> None:
        self._columns = 1 + classes
        # Few numbers at each branch and leaves of several: boards that were never seen are not unlike in all of them.
        self._trees = ExtraTreesClassifier(
            TREES, max_features=8, min_samples_leaf=2, random_state=0, n_jobs=1
        ).fit(examples.described, examples.kinds)

    def __call__(self, described: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found = np.zeros((len(described), self._columns), np.float32)
        found[:, self._trees.classes_] = self._trees.predict_proba(described)
        return found

    def to_onnx(self) -> onnx.ModelProto:
        """`differences` float32 (M, F) to `difference_probabilities` (M, 1 + classes)."""
        nodes: dict[str, Any] = {name: [] for name in _NODES}
        leaves: dict[str, Any] = {name: [] for name in _LEAVES}
        for number, estimator in enumerate(self._trees.estimators_):
            _write_tree(number, estimator.tree_, self._trees.classes_.tolist(), nodes, leaves)
        trees = helper.make_node(
            "TreeEnsembleRegressor",
            [DIFFERENCES],
            [PROBABILITIES],
            domain="ai.onnx.ml",
            n_targets=self._columns,
            aggregate_function="SUM",
            post_transform="NONE",
            **nodes,
            **leaves,
        )
        graph = helper.make_graph(
            [trees],
            "andonloop-template",
            [
                helper.make_tensor_value_info(
                    DIFFERENCES, TensorProto.FLOAT, ["M", self._trees.n_features_in_]
                )
            ],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["M", self._columns])],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
            producer_name="andonloop-trainer",
        )
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


_NODES: Final = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_modes",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
)
_LEAVES: Final = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _write_tree(
    number: int,
    tree: Any,
    classes: Sequence[int],
    nodes: dict[str, list[Any]],
    leaves: dict[str, list[Any]],
) -> None:
    """Appends the nodes and leaves of one of scikit-learn's trees to the attributes of the graph's node."""
    is_leaf = tree.children_left < 0
    places = np.arange(tree.node_count)
    columns = (
        np.full(tree.node_count, number),
        places,
        np.where(is_leaf, 0, tree.feature),
        np.where(is_leaf, "LEAF", "BRANCH_LEQ"),
        np.where(is_leaf, 0.0, _single(tree.threshold)),
        np.where(is_leaf, 0, tree.children_left),
        np.where(is_leaf, 0, tree.children_right),
    )
    for name, column in zip(_NODES, columns, strict=True):
        nodes[name] += column.tolist()
    shares = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True) / TREES
    rows, kinds = np.nonzero((shares > 0) & is_leaf[:, None])
    entries = (
        np.full(len(rows), number),
        rows,
        np.asarray(classes)[kinds],
        shares[rows, kinds],
    )
    for name, column in zip(_LEAVES, entries, strict=True):
        leaves[name] += column.tolist()


def _single(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest 32-bit numbers that are not above: a 32-bit number lies below both or above both."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
