"""What a person types: each command is a file, and what they share stands beside them."""

from edge.core.processor import require_instructions

require_instructions()  # here, for whatever is imported next may import NumPy
