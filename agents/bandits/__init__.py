"""Bandits over a ladder of multipliers."""
