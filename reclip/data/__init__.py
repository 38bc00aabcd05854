"""Datasets: indices, images, views, the mini world."""
