"""Text to tokens and back: chat template, prompt, tokenizers."""
