"""Ms. Pac-Man seen through its mazes: perception written by hand for this one game, learning on top."""
