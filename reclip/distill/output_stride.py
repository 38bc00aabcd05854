"""The student's output stride, for those that need no torch."""

OUTPUT_STRIDE = 8
"""Pixels a feature cell: dilations 1, 1, 2, 4 in the four stages (official code; Chen et al.)."""
