"""The verbs, one module each; `table` says which there are. All are safe to repeat."""
