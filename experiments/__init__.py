"""The main job in stages: fit, train, evaluate, compare, export; thin scripts and the few modules they share.

.. include:: docs/tutorial.md
.. include:: docs/adding.md
"""
