"""Plans of spends: the best one, by convex optimisation, and simple rules to measure others by."""
