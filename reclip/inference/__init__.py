"""Using a trained model: packaged with its card, on photos of one's own, as ONNX."""
