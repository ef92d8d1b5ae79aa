"""A look at the good images before anything is trained."""
