"""ReCLIP: rectify the class- and space-preference bias of CLIP for unsupervised segmentation."""

__version__ = "0.3.0"
