"""What is done to a series before models are fitted: arrays in, arrays out."""
