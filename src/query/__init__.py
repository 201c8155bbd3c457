"""One filter language for the API, the command line and the pages."""
