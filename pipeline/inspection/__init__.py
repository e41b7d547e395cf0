"""What a person opens in a browser: lists, galleries, slides and pictures of scored items, and the marks that they leave."""
