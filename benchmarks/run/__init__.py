"""One cell of lanes to stored rows: runner, record, checkpoints, processes, locks, and progress on the terminal.

Imports every room above: plan, instrument, data, experts, store.
"""
