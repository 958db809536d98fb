"""Layers and differentiable operations that several networks share."""
