"""What every stage has: outcome, errors, progress, ranks. Nothing of any one stage."""
