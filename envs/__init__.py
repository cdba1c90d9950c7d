"""Markets, auctions, money and the Gymnasium environments. Importing this registers the `bidpilot/...` ids."""

from bidpilot.envs.scenarios import register_all

register_all()
