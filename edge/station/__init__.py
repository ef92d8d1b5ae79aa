"""One running station: opened, looped, watched, and closed."""
