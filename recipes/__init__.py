"""Complete training configurations as Python functions."""
