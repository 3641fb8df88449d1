"""What an operator sets: one typed tree, where its values come from, and the one YAML reader."""
