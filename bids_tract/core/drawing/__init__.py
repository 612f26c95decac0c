"""Pictures as arrays: streamlines through a z-buffer, slices of volumes, marks and letters."""
