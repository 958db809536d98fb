"""Simulated readers, who prove design, server and statistics end to end."""
