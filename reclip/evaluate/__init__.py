"""Evaluation: predictions of a run, metrics, figures, and advice on a list of classes."""
