"""Pictures on disk: evidence that is kept account of, and overlays for people."""
