"""Results on disk: the only room that knows their layout."""
