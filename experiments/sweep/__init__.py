"""Many cells of policies, scenarios, budgets and seeds: on local processes, or on a Ray cluster."""
