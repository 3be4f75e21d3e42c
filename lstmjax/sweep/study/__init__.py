"""The trials of a sweep in a database, and the workers that share them."""
