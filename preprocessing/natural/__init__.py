"""Files that hold many pictures at once as data sets are published: idx, the batches of CIFAR, Parquet of encoded pictures."""
