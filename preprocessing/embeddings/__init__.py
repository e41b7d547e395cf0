"""Files of feature vectors to chunks of rows, and what they say of each row and of its slide. Encoders are no part of it."""
