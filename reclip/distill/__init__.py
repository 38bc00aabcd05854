"""Distillation: the DeepLabV2 student, its losses and the linear probe. Imports no torch here."""

OUTPUT_STRIDE = 8
"""Pixels per feature cell: dilations 1, 1, 2, 4 in the four stages (official code; Chen et al.)."""
