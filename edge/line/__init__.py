"""What the line's parts say together: no part's own verdict, and told once for all of them."""
