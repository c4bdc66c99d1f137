"""The command `convert`: Hugging Face checkpoints to and from Orbax."""
