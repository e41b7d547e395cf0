"""Proof that nothing is lost and nothing let in: what is damaged, hostile or killed, over whole commands."""
