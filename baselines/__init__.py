"""The methods NDI is compared with, one file each: citation and formula, Config, losses, train, METHOD."""
