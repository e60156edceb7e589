"""The web application of the demo."""
