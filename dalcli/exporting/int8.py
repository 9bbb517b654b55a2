"""Eight bits instead of 32: the ONNX graph quantised, and what that costs on the evaluation labels.

Weights are quantised channel by channel, activations by their ranges on labeled *training* images (post-training static
quantisation, onnxruntime's). What comes after the last linear layer, and that layer, stay in float32: they are a
thousandth of the work, and the probabilities come out of them. Evaluation labels are only measured on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dalcli.data.decoding import DecodeError
from dalcli.errors import BadInputError, NotReadyError
from dalcli.evaluation.intervals import wilson
from dalcli.evaluation.paired import mcnemar
from dalcli.exporting.outputs import Outputs
from dalcli.exporting.quiet import silent
from dalcli.exporting.reference import images_of, pixels_of
from dalcli.exporting.result import Quantised
from dalcli.models.preprocess import to_input
from dalcli.state import catalog, ledger
from dalcli.state.atomic import write_via
from dalcli.workspace.session import Session

if TYPE_CHECKING:
    from dalcli.exporting.subject import Subject

FORM, FILE, EXAMPLE = "onnx-int8", "model.int8.onnx", "example_onnx_int8.py"
CALIBRATION = 128
"""Labeled training images that ranges of activations are taken from, at most."""
_AT_ONCE = 16
_LINEAR = frozenset({"Gemm", "MatMul"})

Floats = NDArray[np.float32]


def write(folder: Path, floats: Path, session: Session, subject: Subject) -> int:
    """Quantise the graph ``floats`` into ``folder``; how many images its ranges are from.

    Raises:
        BadInputError: onnxruntime cannot quantise this network.
        NotReadyError: no labeled training image can be read.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    _, pixels = images_of(session, subject, CALIBRATION)
    batches = [_input(pixels[start : start + _AT_ONCE], subject) for start in range(0, len(pixels), _AT_ONCE)]
    prepared = folder / "prepared.onnx"
    try:
        with silent():
            quant_pre_process(floats, prepared, skip_symbolic_shape=True)  # of what came after: merged classes
            write_via(
                folder / FILE,
                lambda target: quantize_static(
                    prepared,
                    target,
                    _Ranges(batches),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=_kept(prepared),
                ),
            )
    except OSError:
        raise
    except Exception as error:  # whatever a network makes of its tools
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInputError(
            f"--int8: onnxruntime cannot quantise this network: {said[:200]}", "leave --int8 out"
        ) from (error)
    finally:
        prepared.unlink(missing_ok=True)
    return len(pixels)


def measure(
    folder: Path, floats: Path, session: Session, subject: Subject, outputs: Outputs, calibrated_on: int
) -> Quantised:
    """Both graphs on all evaluation images that have a label and can be read.

    Raises:
        NotReadyError: there are none.
    """
    sessions = {name: _opened(path) for name, path in (("float", floats), ("int8", folder / FILE))}
    seconds = dict.fromkeys(sessions, 0.0)
    said: dict[str, list[Floats]] = {name: [] for name in sessions}
    truth: list[int] = []
    for number, (pixels, labels) in enumerate(_evaluation(session, subject, outputs)):
        images = _input(pixels, subject)
        truth += labels
        for name, network in sessions.items():
            if number == 0:
                network.run(["probabilities"], {"images": images})  # the first call sets things up
            started = time.perf_counter()
            said[name].append(network.run(["probabilities"], {"images": images})[0])
            seconds[name] += time.perf_counter() - started
    if not truth:
        raise NotReadyError(
            "--int8 says what eight bits cost on evaluation labels, and there are none that can be read",
            "ask for some: dalcli query --purpose evaluation --budget 200 > to_label.csv; or leave --int8 out",
        )
    probabilities = {name: np.concatenate(parts) for name, parts in said.items()}
    picks = {name: values.argmax(1) for name, values in probabilities.items()}
    right = {name: picked == np.array(truth) for name, picked in picks.items()}
    level, count = session.config.evaluation.confidence, len(truth)
    interval = wilson(int(right["int8"].sum()), count, level)
    better = int((right["int8"] & ~right["float"]).sum())
    worse = int((right["float"] & ~right["int8"]).sum())
    return Quantised(
        file=FILE,
        bytes=(folder / FILE).stat().st_size,
        example=EXAMPLE,
        calibrated_on=calibrated_on,
        examples=count,
        accuracy=float(right["int8"].mean()),
        low=interval.low,
        high=interval.high,
        float_accuracy=float(right["float"].mean()),
        changed=int((picks["int8"] != picks["float"]).sum()),
        better=better,
        worse=worse,
        p_value=mcnemar(better, worse),
        max_difference=float(np.abs(probabilities["int8"] - probabilities["float"]).max()),
        images_per_second=count / seconds["int8"],
        float_images_per_second=count / seconds["float"],
    )


class _Ranges:
    """onnxruntime's CalibrationDataReader."""

    def __init__(self, batches: Sequence[Floats]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Floats] | None:
        found = next(self._batches, None)
        return None if found is None else {"images": found}


def _kept(path: Path) -> list[str]:
    """Names of the nodes that stay in float32: from the last linear layer on."""
    import onnx

    nodes = onnx.load(path).graph.node
    last = max((place for place, node in enumerate(nodes) if node.op_type in _LINEAR), default=len(nodes))
    return [node.name for node in nodes[last:]]


def _evaluation(session: Session, subject: Subject, outputs: Outputs) -> Iterator[tuple[NDArray[np.uint8], list[int]]]:
    """Pixels of labeled evaluation images, some at a time, and which output each label is; −1: none."""
    with session.database.read() as connection:
        labels = ledger.labels(connection, "evaluation")
    place = {label: number for number, label in enumerate(outputs.positions)}
    keys = list(labels)
    for start in range(0, len(keys), _AT_ONCE):
        pixels, wanted = [], []
        with session.database.read() as connection:
            images = catalog.images_of(connection, keys[start : start + _AT_ONCE])
        for image in images:
            try:
                pixels.append(pixels_of(session, subject, image)[1])
            except DecodeError:
                continue
            wanted.append(place.get(labels[image.key], -1))
        if pixels:
            yield np.stack(pixels), wanted


def _input(pixels: NDArray[np.uint8], subject: Subject) -> Floats:
    import torch

    made: Floats = to_input(pixels, subject.stats, torch.device("cpu")).contiguous().numpy()
    return made


def _opened(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
