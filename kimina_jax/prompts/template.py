"""A problem as the text that a prover reads.

In: a problem (and a tokenizer). Out: the chat prompt, up to where the
assistant's answer begins. Never an answer, never a truncated prompt.

The strings are those that the Kimina-Prover Preview models were trained with
(arXiv 2504.11354), in the chat template of Qwen2.5. Change one, and their
checkpoints no longer know the task.
"""

from kimina_jax.prompts.tokenizer import Tokenizer
from kimina_jax.types import Problem, Prompt

SYSTEM = "You are an expert in mathematics and Lean 4."
TASK = "Think about and solve the following problem step by step in Lean 4."
INFORMAL = "# Problem:"
FORMAL = "# Formal statement:"


def render(problem: Problem) -> str:
  """The whole prompt: system and user turn, and the assistant's marker.

  An empty `problem.informal` leaves its heading empty, as in training. A
  problem without a statement is a plain question: its words are the turn.
  """
  if not problem.statement:
    return _chat(problem.informal)
  formal = f"```lean4\n{problem.header}{problem.statement}\n```"
  user = f"{TASK}\n{INFORMAL}{problem.informal}\n{FORMAL}\n{formal}\n"
  return _chat(user)


def make_prompt(problem: Problem, tokenizer: Tokenizer) -> Prompt:
  """The prompt with its tokens."""
  text = render(problem)
  return Prompt(problem, text, tokenizer.encode(text))


def _chat(user: str) -> str:
  turns = _turn("system", SYSTEM) + _turn("user", user)
  return f"{turns}<|im_start|>assistant\n"


def _turn(role: str, content: str) -> str:
  return f"<|im_start|>{role}\n{content}<|im_end|>\n"
