"""How fast models run here: every configuration in fresh processes, in rounds in which each has its turn."""
