"""What an evaluation found: figures, tables, charts, pictures, one page."""
