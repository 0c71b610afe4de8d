"""Learning: agents, networks, replay, and the loop that turns steps of environments into updates."""
