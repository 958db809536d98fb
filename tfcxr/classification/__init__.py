"""Classifiers as products of their own: trained on real patients, scored, and stored in a folder."""
