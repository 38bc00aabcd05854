"""Use a trained model: package it with its card, segment photos, export it as ONNX."""
