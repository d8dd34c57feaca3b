"""Imitation with Neural Density Models (Kim et al., NeurIPS 2021, arXiv 2010.09808).

ndi.py        the algorithm: fit a density, then maximise E[log q(s,a)] + occupancy entropy with SAC
density.py    what every density shares: inputs, fitting, its scale on the demonstrations
made.py       masked autoregressive density; ebm.py: energy model by score matching;
              kde.py: kernel density estimate, the trivial reference
occupancy.py  the occupancy-entropy bound (SAELBO) and its per-step reward
entropy.py    what estimates the occupancy's entropy: a fixed critic, a learned one, particles
reward.py     how log q becomes a reward: the literal and the practical convention
"""
