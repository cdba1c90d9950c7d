"""Response models: one file each, the forward pass reads like the paper."""
