"""Prompt templates: a problem as chat text and tokens.

In: a problem and a tokenizer. Out: the prompt, up to the marker after which the
assistant's response begins; it is never truncated.

The strings of the kind `kimina` are those that the Kimina-Prover Preview models
were trained with (arXiv 2504.11354), in the chat template of Qwen2.5. With
other strings, their checkpoints do not recognize the task. To add a kind of
prompt, write a function that gives a problem's user turn and add a line to
PROMPT_KINDS.
"""

from collections.abc import Callable

from kimina_jax.prompts.tokenizer import Tokenizer
from kimina_jax.types import Problem, Prompt

SYSTEM = "You are an expert in mathematics and Lean 4."
TASK = "Think about and solve the following problem step by step in Lean 4."
INFORMAL = "# Problem:"
FORMAL = "# Formal statement:"


def kimina_turn(problem: Problem) -> str:
  """The user turn of the Kimina-Prover Preview models.

  An empty `problem.informal` leaves its heading empty, as in training.
  """
  formal = f"```lean4\n{problem.header}{problem.statement}\n```"
  return f"{TASK}\n{INFORMAL}{problem.informal}\n{FORMAL}\n{formal}\n"


# Each gives the user turn of a problem that has a statement.
PROMPT_KINDS: dict[str, Callable[[Problem], str]] = {"kimina": kimina_turn}


def render_prompt(problem: Problem, kind: str = "kimina") -> str:
  """Returns the whole prompt: system and user turn, and the assistant's marker.

  Args:
    problem: one without a statement is a plain question, whose informal text
      is the user turn of every kind of prompt.
    kind: of PROMPT_KINDS.
  """
  if not problem.statement:
    return _chat(problem.informal)
  return _chat(PROMPT_KINDS[kind](problem))


def make_prompt(
  problem: Problem, tokenizer: Tokenizer, kind: str = "kimina"
) -> Prompt:
  """Renders and tokenizes a problem's prompt."""
  text = render_prompt(problem, kind)
  return Prompt(problem, text, tokenizer.encode(text))


def _chat(user: str) -> str:
  turns = _turn("system", SYSTEM) + _turn("user", user)
  return f"{turns}<|im_start|>assistant\n"


def _turn(role: str, content: str) -> str:
  return f"<|im_start|>{role}\n{content}<|im_end|>\n"
