"""From stored rows to tables, figures and pages: offline, deterministic, without torch, MuJoCo or Minari.

`building.build` is the whole of it. Arrows inside: statistics (arrays to numbers) knows nothing of the rest; variants
says who competes; reading and results make one frame of scores of the rows, and boards of what is to be compared;
tables and plots are functions of a board; formats gives tables their faces, page and html put them together; style says
how methods look everywhere; place says where pages are written.
"""
