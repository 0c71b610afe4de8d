"""Who answers calls: one worker in this process, or several processes and their supervisor."""
