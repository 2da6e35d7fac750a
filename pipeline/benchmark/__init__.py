"""`python -m pipeline benchmark`: training and evaluation beside the other tools', on the same machine, in the same minutes."""
