"""Every method as a scikit-learn estimator, and the registry that finds them by name."""
