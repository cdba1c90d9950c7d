"""The commands of `bidpilot`, a module for each few that belong together; bidpilot.experiments.cli lists them."""
