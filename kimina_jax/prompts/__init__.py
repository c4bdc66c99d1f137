"""Prompts: the chat template and the tokenizers."""
