"""The pages, one module an area; each has a blueprint `pages`."""
