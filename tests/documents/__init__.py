"""Documents read as a person would follow them: their command blocks run, their flags, paths and links exist."""
