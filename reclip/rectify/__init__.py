"""Rectification: bias model, loss, training, hypotheses, pseudo-masks."""
