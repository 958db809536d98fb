"""Losses as pure functions of logits, each tested against hand-computed values."""
