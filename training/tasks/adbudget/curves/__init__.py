"""How sales respond to spends: the curves of channels, fitted to a history."""
