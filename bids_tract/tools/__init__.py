"""The extra verbs."""
