"""Which columns the score of a table's row comes from: contributions, their numbers, the heat map of rows by columns."""
