"""What every stage has: command, options, outcome, errors, progress, ranks. Nothing of any one stage."""
