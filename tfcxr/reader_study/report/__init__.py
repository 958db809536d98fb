"""The report of a study, for people and for programs."""
