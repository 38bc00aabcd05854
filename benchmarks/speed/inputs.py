"""Seeded networks, features and photos of a size; computing time does not depend on the values."""

from __future__ import annotations

import copy
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reclip.clip.architecture import architecture
from reclip.clip.load import Clip
from reclip.config.models import ClipSettings, ImageSettings, ViewSettings
from reclip.data.images import IGNORED
from reclip.data.views import View, draw_view
from reclip.device.precision import Precision
from reclip.distill.deeplab import Student
from reclip.distill.learn import build_student
from reclip.rectify.learn import build_model
from reclip.rectify.model import BiasModel
from reclip.training.share import draw
from speed.sizes import Size

SEED = 0


class Inputs:
    """What the stages of one size compute on, made when it is first asked for."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        self.image = ImageSettings(short_side=size.short)
        self.many = size.few if device.type == "cpu" else size.batch

    def clip_in(self, precision: Precision) -> Clip:
        """Return CLIP with an image tower that computes in a precision."""
        return self.clip if precision == "float32" else self._reduced

    @cached_property
    def _reduced(self) -> Clip:
        return copy.deepcopy(self.clip).compute_in("bfloat16")

    @cached_property
    def clip(self) -> Clip:
        """CLIP of the size with seeded weights."""
        spec = ClipSettings(model=self.size.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = CLIP(**architecture(spec, (), None).config)
        tokenizer = SimpleTokenizer(context_length=model.context_length)
        return Clip(model.to(self.device), tokenizer, (0, 0, 0), (1, 1, 1))

    @property
    def classes(self) -> int:
        return len(self.size.classes)

    @property
    def names(self) -> list[str]:
        """The first name of each class."""
        return [names[0] for names in self.size.classes]

    @property
    def side(self) -> int:
        """Cells along a view."""
        return -(-self.size.crop // self.clip.patch_size)

    def random(self, *shape: int) -> Tensor:
        """Return numbers of the normal distribution (*shape), the same on every device."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(SEED)).to(self.device)

    def noise(self, *shape: int) -> Tensor:
        """Return exponential noise (*shape), the same every time."""
        return draw(shape[0], shape[1:], torch.Generator(self.device).manual_seed(SEED))

    @cached_property
    def w_query(self) -> Tensor:
        return F.normalize(self.random(self.classes, self.clip.embed_dim), dim=-1)

    @cached_property
    def views(self) -> Tensor:
        """Normalised views (B, 3, crop, crop)."""
        return self.random(self.size.batch, 3, self.size.crop, self.size.crop)

    @cached_property
    def z(self) -> Tensor:
        """CLIP's features (B, side, side, D) of unit length."""
        shape = self.size.batch, self.side, self.side, self.clip.embed_dim
        return F.normalize(self.random(*shape), dim=-1)

    @cached_property
    def hypotheses(self) -> Tensor:
        """Three classes of each view, bool (B, C)."""
        found = torch.zeros(self.size.batch, self.classes, dtype=torch.bool)
        for image, row in enumerate(found):
            row[[(image + step * 7) % self.classes for step in range(3)]] = True
        return found.to(self.device)

    @cached_property
    def bias(self) -> BiasModel:
        """The bias model before its first step, in training mode."""
        torch.manual_seed(SEED)
        names = [list(names) for names in self.size.classes]
        model = build_model(self.clip, names, self.w_query, self.size.rectify)
        return model.to(self.device).train()

    @cached_property
    def student(self) -> Student:
        """The student before its first step, in training mode."""
        torch.manual_seed(SEED)
        teacher = self.bias.freeze()
        return build_student(teacher, self.side, self.size.student).to(self.device).train()

    def labels(self, height: int, width: int) -> Tensor:
        """Return uint8 maps (B, height, width) of regions of classes, with ignored pixels."""
        coarse = torch.randint(
            self.classes, (self.size.batch, 1, 6, 8), generator=torch.Generator().manual_seed(SEED)
        )
        maps = F.interpolate(coarse.float(), (height, width), mode="nearest")[:, 0].byte()
        maps[:, : height // 50] = IGNORED
        return maps

    @cached_property
    def file(self) -> Path:
        """A JPEG photo, in a folder that goes with these inputs."""
        height, width = self.size.photo
        coarse = np.random.default_rng(SEED).integers(0, 256, (24, 32, 3), np.uint8)
        photo = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "photo.jpg"
        photo.save(path, quality=95)
        return path

    def view(self, number: int) -> View:
        """Return view `number` of the photo, as a training draws it."""
        views = ViewSettings(crop=self.size.crop)
        return draw_view("photo", *self.size.photo, number, views, self.image)
