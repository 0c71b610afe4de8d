"""Workers: one in this process, or several processes and their supervisor."""
