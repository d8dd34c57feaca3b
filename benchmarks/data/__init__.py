"""Minari datasets to demonstrations, their manifest, videos of episodes, and shipping an expert's dataset."""
