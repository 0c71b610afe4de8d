"""The methods of the service, from request message to response message, whatever carries them."""
