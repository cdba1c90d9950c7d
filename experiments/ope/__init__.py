"""Offline evaluation from logs with propensities: what a policy would have earned, and when nobody can say."""
