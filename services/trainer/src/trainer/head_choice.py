"""Which head on which input: linear on the small one, unless a kernel machine is better by more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from andon_vision import Preprocessing

from trainer.adapters.fitting import TrainingSet, fit_class_head, fit_head
from trainer.adapters.kernel_head import fit_kernel
from trainer.domain.calibration import Floats
from trainer.domain.head import Head, Kernel
from trainer.domain.metrics import auroc, beyond_chance, ranking_gain
from trainer.workshop import Report

INPUTS: Final = (Preprocessing(224, 224), Preprocessing(300, 300))
"""The second costs a plant 1.8 times the first."""

DataOf = Callable[[Preprocessing], TrainingSet]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A head with its input, the calibrated out-of-fold probabilities of its training rows, and all that was tried."""

    preprocessing: Preprocessing
    head: Head
    probabilities: Floats | None
    tried: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_kernel(self) -> bool:
        return isinstance(self.head.defect, Kernel)


def choose_head(
    plain: TrainingSet,
    rich_of: DataOf | None,
    classes: tuple[str, ...],
    inputs: Sequence[Preprocessing],
    report: Report = lambda text: None,
) -> Chosen:
    """The linear head on `plain` features (of the first input), or a kernel machine on the rich ones of an input.

    Inputs are tried in their order, and a later candidate is taken only where its ranking out of fold gains more than
    one standard error of the gain, for which groups are drawn as a whole. Raises `SnapshotError`.
    """
    head, probabilities = fit_head(plain, classes)
    best = Chosen(inputs[0], head, probabilities)
    if probabilities is None or rich_of is None:
        return best
    tried = [_told(inputs[0], "linear", auroc(probabilities, plain.is_defect))]
    for spec in inputs:
        data = rich_of(spec)
        fitted = fit_kernel(data)
        gain = ranking_gain(fitted.probabilities, _known(best), data.is_defect, data.groups)
        tried.append(
            _told(spec, "kernel", auroc(fitted.probabilities, data.is_defect)) | {"gain": gain.to_json()}
        )
        told = f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        report(f"kernel machine, {spec.width}x{spec.height}: AUROC {told}")
        if beyond_chance(gain):
            as_plain = replace(data, views=data.views[..., : plain.views.shape[-1]])
            head = Head(classes, fitted.kernel, fitted.calibration, fit_class_head(as_plain, classes))
            best = Chosen(spec, head, fitted.probabilities)
    return replace(best, tried=tried)


def _known(chosen: Chosen) -> Floats:
    assert chosen.probabilities is not None
    return chosen.probabilities


def _told(spec: Preprocessing, head: str, quality: float) -> dict[str, Any]:
    return {"head": head, "preprocessing": spec.to_json(), "auroc": round(quality, 4)}
