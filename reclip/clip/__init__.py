"""CLIP: loading, dense image features, text embeddings, pre-training of mini-clip."""
