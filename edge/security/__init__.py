"""Who may say what to this station: signatures on bundles, keys of consumers. Below sources and sinks, above core."""
