"""Distillation: DeepLabV2 student, losses, training, linear probe."""
