"""Tables of every usual format: rows of float32 numbers and what is known of each row. Nothing is labelled here by guess."""
