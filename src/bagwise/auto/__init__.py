"""The best model for some data, found within a budget, and how good the whole search is."""
