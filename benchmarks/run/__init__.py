"""One cell of lanes to stored rows: runner, record, checkpoints, processes, locks, and progress on the terminal.

What it needs of experts is handed in.
"""
