"""Learning algorithms, each a dataclass of hyper-parameters, pure loss functions, and an agent."""
