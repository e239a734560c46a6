"""Honest numbers: folds, metrics, and what they were measured on."""
