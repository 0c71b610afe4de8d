"""The commands of `polserve` that need no training code; each module is imported when its command is called."""
