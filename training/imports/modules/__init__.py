"""Torch modules in hand: what they give made into actions, so that they are imported like a file."""
