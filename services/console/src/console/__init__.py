"""What people see and do: the state of the lines, captures with their evidence, reviews, actions."""
