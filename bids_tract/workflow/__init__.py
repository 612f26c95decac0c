"""A plan becomes a nipype workflow."""
