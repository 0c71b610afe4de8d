"""CleanRL's saved models: what is in the file, the network rebuilt from it, and the policy that it is."""
