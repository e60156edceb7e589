"""A small electronic health record to release against: a database, a web application, and ways to break both."""
