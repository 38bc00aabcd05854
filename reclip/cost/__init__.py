"""Estimate FLOPs, disk and hours of an experiment from its settings, before anything runs."""
