"""Control problems: any Gymnasium environment, as it is."""
