"""What the image is built from, and programs that keep it so: pinned packages, known vulnerabilities."""
