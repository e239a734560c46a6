"""Encoders, poolings, heads, and how they compose into a model (paper, section 2.2)."""
