"""What a person types: each command is a file, and what they share stands beside them."""
