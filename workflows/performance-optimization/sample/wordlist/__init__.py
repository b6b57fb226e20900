"""Words of texts: which there are, how often, and which are like each other."""
