"""What training and serving share beside messages: names, the golden check, the alias history, hosts, packages."""
