"""Learning rate x method x seed x format of the weights: how good, how wide is the good range, what diverges."""
