"""The seeds of images that are generated together, equal for a cohort, Python and a server's client."""

SEEDS_PER_COHORT = 2**32  # image i of seed s has the seed s * 2**32 + i, so that two cohorts share no image
