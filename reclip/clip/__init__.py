"""CLIP: loading, dense image features, text embeddings and pre-training of mini-clip."""
