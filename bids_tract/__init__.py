"""BIDS diffusion MRI in, tractograms out."""

__version__ = "0.1.0"
