"""The proof that a version is the policy that was trained, made in a process whose end harms nobody."""
