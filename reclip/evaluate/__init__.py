"""Evaluation: inference, metrics, tables, figures."""
