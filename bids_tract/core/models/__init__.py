"""From signals to orientations: tensor, response, CSA, CSD, peaks."""
