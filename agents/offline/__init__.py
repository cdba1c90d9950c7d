"""Learners from logs alone: imitation, cloning, offline reinforcement learning, sequence models."""
