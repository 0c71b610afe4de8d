"""The settings of `polserve serve`: what they are, how users write them, and what their values must be."""
