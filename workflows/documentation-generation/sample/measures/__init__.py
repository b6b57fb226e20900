"""Lengths, durations and amounts, as people write them."""
