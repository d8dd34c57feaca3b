"""What runs in the peers' own interpreters. `clock` and `link` need nothing but the standard library and numpy."""
