"""Rectification: the bias model, its training loss, image-level hypotheses and label maps."""
