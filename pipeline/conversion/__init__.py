"""A unit of radiographs, images or table rows to a shard. Slides have a room of their own."""
