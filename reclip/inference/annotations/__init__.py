"""Hand masks on to an annotation tool as a first draft: COCO, CVAT and Label Studio."""
