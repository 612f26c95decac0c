"""From orientations to streamlines."""
