"""Orders of a shop: how they are kept and what they come to."""
