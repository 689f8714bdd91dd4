"""One module a command: its options beside what it does with them (`trainer.main.COMMANDS` names them)."""
