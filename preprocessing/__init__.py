"""Archives in, arrays and tables out: slides, radiographs, images and tables become one kind of store.

Nothing here trains, scores or parses a command line; `models` is never imported.
"""
