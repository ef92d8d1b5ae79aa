"""Materials × seeds: what the defaults are worth on parts that nobody tuned to."""
