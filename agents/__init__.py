"""Bidding policies: one module, one policy, a frozen Config and the class it builds."""
