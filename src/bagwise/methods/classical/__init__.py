"""The methods that Table 1 of the paper compares with: no networks, hyper-parameters by inner cross-validation."""
