"""What a model says of images that nobody has labeled, and when that may count as a label. First: ``guarantee.py``."""
