"""One file a subcommand: `arguments(parser)` declares it, `run(asked)` does it."""
