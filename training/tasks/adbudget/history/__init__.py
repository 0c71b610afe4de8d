"""What an account spent and sold, day by day: read from a spreadsheet's file, or simulated."""
