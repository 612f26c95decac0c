"""Moved: the kernels' cache is a tool as well, and the tools may not use the workflow."""

from bids_tract.tools.compiled import ensure_compiled

__all__ = ["ensure_compiled"]
