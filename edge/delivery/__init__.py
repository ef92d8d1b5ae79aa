"""From a verdict to records, committed and told; the loop never waits for any of it."""
