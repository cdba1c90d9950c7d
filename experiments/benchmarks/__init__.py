"""Speed, side by side with a plain reference on the same work."""
