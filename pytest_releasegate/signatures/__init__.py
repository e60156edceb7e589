"""SSH signatures: made by `ssh-keygen`, checked here, and who may make them."""
