"""Who asks and who is answered: the live feed, replay, and commands."""
