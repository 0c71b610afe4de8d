"""Child processes of the service: the parent's end of the pipe, the child's end, and the messages between them."""
