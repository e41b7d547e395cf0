"""What a person sees of a training while it runs: table, curves, pictures, MLflow, warnings of collapse."""
