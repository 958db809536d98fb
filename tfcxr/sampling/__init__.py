"""From an exported generator to a labelled synthetic cohort."""
