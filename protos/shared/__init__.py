"""What training and serving share beside messages: names, the golden comparison, records, and texts of errors."""
