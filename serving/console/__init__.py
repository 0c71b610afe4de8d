"""The console: the page at / for people, with its files and what it reads beside the API."""
