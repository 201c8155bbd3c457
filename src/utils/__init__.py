"""Small tools without a home of their own."""
