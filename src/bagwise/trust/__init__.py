"""What an answer is worth: calibrated probabilities, thresholds, sets, and whether a bag is like those learnt from."""
