"""Export a student as an ONNX file, which is compared with PyTorch before it is kept."""

from __future__ import annotations

import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from reclip.common.errors import ReclipError
from reclip.common.files import atomic
from reclip.data.reading import Frame, Piece, Window
from reclip.data.views import normalise, pad_to
from reclip.distill.deeplab import Student
from reclip.inference.model_info import WEIGHTS, ModelInfo, read_folder
from reclip.inference.onnx_backend import DESCRIPTION, IMAGE, LOGITS, class_map, open_session

SIZES = ((64, 64), (72, 104), (97, 131), (200, 56), (256, 320))  # (H, W) of the compared images
MOST_DIFFERENCE, LEAST_AGREEMENT = 1e-3, 0.999


class Exported(nn.Module):
    """A student with its preprocessing; input and output: see `reclip.inference.onnx_backend`."""

    def __init__(self, student: Student, info: ModelInfo) -> None:
        super().__init__()
        self.student, self.stride = student, info.stride
        self.register_buffer("mean", torch.tensor(info.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(info.std).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        height, width = x.shape[-2:]
        x = nn.functional.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        deeplab, head = self.student.deeplab, self.student.head
        x = deeplab.backbone(x)[-1]
        # All branches: DeepLabV2's own forward skips some by the size, which is free here.
        feature = sum(branch(x) for branch in deeplab.branches)
        return head(feature if head.learnable else nn.functional.normalize(feature, dim=1))


class Agreement(NamedTuple):
    """Largest difference of a logit, share of pixels of the same class, number of image sizes."""

    difference: float
    same_class: float
    sizes: int


def export_onnx(folder: Path, path: Path) -> Agreement:
    """Export the student of a packaged model to the file `path`.

    Raises ReclipError: the folder holds no packaged student, a package is missing, or the logits
    differ from PyTorch's. No file is left then.
    """
    info = read_folder(folder)
    if info.kind != "student":
        raise ReclipError(
            f"'{folder}' holds a rectified CLIP, but only a student can be exported: distil it "
            f"into one (a run of method distill) and export that"
        )
    if path.suffix.lower() != ".onnx":
        raise ReclipError(f"'{path}' must end in .onnx, by which programs know such files")
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ReclipError(
            f"the export needs the package {error.name}: run `pip install 'reclip[onnx]'`"
        ) from error
    student = Student.load(folder / WEIGHTS)
    model = onnx.load_from_string(_traced(Exported(student, info).eval()))
    _describe(model, info)
    with atomic(path) as partial:
        onnx.save(model, partial)
        found = compare(partial, student, info)
        if not (found.difference < MOST_DIFFERENCE and found.same_class >= LEAST_AGREEMENT):
            raise ReclipError(
                f"the export of '{folder}' differs from PyTorch by {found.difference:.2g} in a "
                f"logit and in {1 - found.same_class:.2%} of the pixels, so '{path}' was not "
                f"written: try other versions of torch, onnxscript and onnxruntime"
            )
    return found


def _traced(model: Exported) -> bytes:
    """Return the ONNX graph with dynamic batch, height and width."""
    # The exporter's output and warnings do not help the user.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                model,
                (torch.zeros(2, 96, 136, 3, dtype=torch.uint8),),
                dynamo=True,
                dynamic_shapes={"image": dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)},
                input_names=[IMAGE],
                output_names=[LOGITS],
                opset_version=20,
                verbose=False,
            )
    finally:
        logging.disable(before)
    return program.model_proto.SerializeToString()


def _describe(model, info: ModelInfo) -> None:
    """Add metadata for programs and people; remove paths of the machine that exported."""
    import onnx

    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        del node.metadata_props[:]  # stack traces
        node.doc_string = ""
    del model.graph.value_info[:]
    for value, names in (
        (model.graph.input[0], ("batch", "height", "width")),
        (model.graph.output[0], ("batch", None, "cell_rows", "cell_columns")),
    ):
        del value.metadata_props[:]
        for dim, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name:
                dim.dim_param = name
    model.producer_name, model.producer_version = "reclip", version("reclip")
    s = info.stride
    facts = {
        DESCRIPTION: info.model_dump_json(),
        "class_names": json.dumps(info.class_names, ensure_ascii=False),
        "palette": json.dumps(info.palette),
        "preprocessing": f"read the photo {info.reading}; give RGB values from 0 to 255",
        "input": f"{IMAGE}: uint8 (batch, height, width, 3), RGB, any height and width; "
        "normalisation is part of the graph",
        "output": f"{LOGITS}: float32 (batch, {len(info.classes)} classes, ceil(height/{s}), "
        f"ceil(width/{s})); resize bilinearly by {s} (half-pixel centres), cut to height and "
        "width, take the class with the greatest logit",
        "licences": " ".join(info.sources),
    }
    onnx.helper.set_model_props(model, facts)


def compare(path: Path, student: Student, info: ModelInfo) -> Agreement:
    """Compare the file with the student as the pipeline runs it, on seeded images of SIZES."""
    session, rng = open_session(path), np.random.default_rng(0)
    worst, same = 0.0, []
    for height, width in SIZES:
        # Noise of large and small grain: photos have both.
        coarse = rng.integers(0, 256, (2, height // 16 + 1, width // 16 + 1, 3))
        coarse = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]
        images = (coarse + rng.integers(-40, 40, coarse.shape)).clip(0, 255).astype(np.uint8)
        (found,) = session.run([LOGITS], {IMAGE: images})
        whole = (-(-side // info.stride) * info.stride for side in (height, width))
        batch = torch.stack([normalise(i, info.norm) for i in images])
        with torch.inference_mode():
            wanted = student(pad_to(batch, *whole))[0].numpy()
        worst = np.maximum(worst, np.abs(found - wanted).max())  # keeps a NaN
        window, frame = Window(0, 0, height, width), Frame(info.stride, *[(height, width)] * 2)
        masks = ([class_map([Piece(window, one)], frame) for one in x] for x in (found, wanted))
        same.append(np.equal(*map(np.stack, masks)).ravel())
    return Agreement(float(worst), np.concatenate(same).mean().item(), len(SIZES))
