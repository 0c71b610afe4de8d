"""What a policy misses of the best plan, and the page that shows it."""
