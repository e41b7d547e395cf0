"""Files of vectors, and the items of a store through a frozen encoder, to a store of embeddings. Networks are in `models/encoders`."""
