"""PGGAN in parts: its settings and schedule, its networks, its training step, and what starts from a trained one."""

from tfcxr.models.pggan.config import PGGANConfig
from tfcxr.models.pggan.model import PGGAN

__all__ = ["PGGAN", "PGGANConfig"]
