"""The suite: families of markets in which every policy is compared, and the claims that are checked there."""
