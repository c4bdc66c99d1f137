"""Every key of an experiment, its default and what it means.

The defaults are those of the papers (Kimina-Prover Preview, arXiv 2504.11354;
Kimi k1.5, arXiv 2501.12599) where they speak. An experiment is a file beside
this one that starts from `common.get_config()` and changes what differs.

A section is the keyword arguments of the one function that reads it, so its
keys cannot drift from the code: `make_mesh(**config.mesh)`.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
  """The default experiment; a key that is not here is an error."""
  if arg:
    raise ValueError(f"configs/common.py takes no argument, got {arg!r}")
  config = ConfigDict()
  config.seed = 0
  # Run or model directory whose weights start this run; "" draws them.
  config.init_from = ""
  # "embedded", a SentencePiece .model file, or a directory with a Hugging
  # Face tokenizer.
  config.tokenizer = "embedded"
  # Kind of prompt: "kimina", the text that the Kimina-Prover models know.
  config.prompt = "kimina"
  config.model = _model()
  config.mesh = _mesh()
  config.problems = _problems()
  config.curriculum = _curriculum()
  config.rollouts = _rollouts()
  config.checker = _checker()
  config.reward = _reward()
  config.advantage = _advantage()
  config.loss = _loss()
  config.optimizer = _optimizer()
  config.train = _train()
  config.sft = _sft()
  config.eval = _eval()
  config.checkpoint = _checkpoint()
  return config.lock()


def _model() -> ConfigDict:
  model = ConfigDict()
  # debug, qwen2.5-0.5b, -1.5b, -3b, -7b, -14b, -32b or -72b.
  model.name = "debug"
  model.param_dtype = "float32"  # master weights
  model.compute_dtype = "bfloat16"  # activations and matmuls
  # What backward computes again: "none", "full" (each layer but its input),
  # "save_attention", "save_projections" (no matmul), or "offload" (as full,
  # with the layers' inputs in the host's memory).
  model.remat = "full"
  # "auto", "splash" (TPU), "cudnn" (GPU) or "xla".
  model.attention = "auto"
  # Above 1: YaRN to that many times the positions trained for.
  model.yarn_factor = 1.0
  return model


def _mesh() -> ConfigDict:
  mesh = ConfigDict()
  # Devices along each axis; at most one -1 takes what is left.
  mesh.data = 1
  mesh.fsdp = -1
  mesh.context = 1
  mesh.tensor = 1
  return mesh


def _problems() -> ConfigDict:
  problems = ConfigDict()
  # "arithmetic" (generated) or a JSONL file of statements (problems/dataset.py
  # shows its format).
  problems.train = "arithmetic"
  problems.eval = "arithmetic"
  problems.eval_split = "test"  # which split of problems.eval is held out
  # Training statements that share an n-gram of this many words with an
  # evaluation statement are left out; 0 keeps all.
  problems.decontaminate_ngram = 13
  # Number of generated problems of each split.
  problems.num_train = 2048
  problems.num_eval = 128
  return problems


def _curriculum() -> ConfigDict:
  curriculum = ConfigDict()
  # Draw problems with probability ∝ 1 − solve rate; else uniformly.
  curriculum.prioritized = True
  # Prune a problem that was solved k/k on this many visits in a row; 0 prunes
  # none.
  curriculum.prune_after = 3
  return curriculum


def _rollouts() -> ConfigDict:
  rollouts = ConfigDict()
  # Devices of one replica, which share a copy of the weights; a divisor or a
  # multiple of the devices of a process. The rest of the mesh is replicas.
  rollouts.tensor = 1
  rollouts.max_prompt_len = 2048  # tokens
  rollouts.max_response_len = 30720  # tokens; also L of the loss
  rollouts.temperature = 1.0
  rollouts.top_p = 1.0  # below 1 biases ρ
  rollouts.top_k = 0  # tokens to keep; 0 is all, another number biases ρ
  rollouts.min_p = 0.0  # least share of the largest probability; above 0 too
  rollouts.stop_strings = ()  # texts that end a response, besides <|im_end|>
  # A response ends when so many tokens repeat with a period of at most 64; 0
  # never looks.
  rollouts.repetition_window = 1024
  rollouts.num_slots = 64  # sequences decoded at once, over all replicas
  rollouts.steps_per_dispatch = 16  # tokens per slot between two host looks
  rollouts.page_size = 64  # positions of a page of the KV cache
  # Positions of a replica's KV cache, for all its sequences together; 0 is
  # room for each slot at its longest.
  rollouts.cache_tokens = 0
  # "auto" (compute_dtype), "float32", "bfloat16", "int8" or "float8_e4m3fn".
  rollouts.cache_dtype = "auto"
  # Tokens of prompts that are computed along with a step of decoding.
  rollouts.chunk_tokens = 512
  return rollouts


def _checker() -> ConfigDict:
  checker = ConfigDict()
  # "minilean" (embedded), "repl" (a Lean REPL, started by `command`) or
  # "server" (Kimina Lean Servers at `urls`).
  checker.backend = "minilean"
  # For "repl": command line of the REPL, e.g. "/opt/repl/build/bin/repl".
  checker.command = ""
  checker.lean_path = ""  # for "repl": LEAN_PATH
  # For "server"; the environment's KIMINA_JAX_SERVER_KEY is the bearer key.
  checker.urls = ()
  # Workers (checker processes) of each process of a job; each checks one proof
  # at a time.
  checker.num_workers = 2
  # Standby workers with the header imported; one takes the place of a worker
  # that is replaced.
  checker.num_standby = 1
  # Workers that import a header at the same time: it takes seconds of a core
  # and gigabytes of file cache.
  checker.max_imports = 2
  # Proofs in the queue; submitting more blocks. A bound of memory, which runs
  # never reach.
  checker.max_pending = 65_536
  checker.queue_timeout_s = 3600.0  # waiting for a worker
  checker.load_timeout_s = 300.0  # starting a worker, importing the header
  checker.exec_timeout_s = 60.0  # checking one proof
  checker.max_uses = 500  # proofs before a worker is replaced
  checker.memory_gib = 8.0  # anonymous memory of one worker
  # Address space of one worker. Lean maps gigabytes of files, which count: it
  # must be much more than memory_gib, or imports fail.
  checker.address_gib = 64.0
  # "bwrap", "rlimit", or "auto": bwrap where it works, else rlimit. "none" runs
  # proofs with all of your rights, and therefore needs allow_none = True.
  checker.isolation = "auto"
  checker.allow_none = False
  # Ceiling of set_option maxHeartbeats; a header's 0 (no limit) becomes this.
  checker.max_heartbeats = 400_000
  # Allow native_decide, and so trust Lean's compiler besides its kernel.
  checker.native_decide = False
  # File that keeps verdicts from one run to the next; "" is none.
  checker.verdict_cache = ""
  # A second verifier, e.g. "safe_verify {target} {proof}"; "" is none. It
  # checks the first accepted proof of each problem, all accepted proofs of
  # evaluations, and the share second_share of the others.
  checker.second_command = ""
  checker.second_share = 0.01
  checker.second_timeout_s = 600.0  # one check of the second verifier
  return checker


def _reward() -> ConfigDict:
  reward = ConfigDict()
  reward.min_coverage = 0.6  # share of final lines seen in tactics blocks
  reward.format_failure = "zero"  # or "exclude" from the group
  reward.truncated = "zero"  # or "exclude"
  return reward


def _advantage() -> ConfigDict:
  advantage = ConfigDict()
  # "mean" (all k, self included), "softmax" (τ log mean exp(r/τ)),
  # "leave_one_out" (RLOO) or "standardized" (GRPO).
  advantage.baseline = "mean"
  advantage.length_penalty = False  # k1.5's length reward
  advantage.drop_negative = 0.5  # ω, probability to drop a sample with A < 0
  return advantage


def _loss() -> ConfigDict:
  loss = ConfigDict()
  # kimi, reinforce, grpo, dr_grpo, dapo, gspo or cispo. The names say the loss
  # alone; what belongs to a method besides:
  #   rloo     reinforce, advantage.baseline leave_one_out, drop_negative 0
  #   grpo     baseline standardized, drop_negative 0, clip_high 0.2
  #   dapo     baseline standardized, drop_negative 0
  #   gspo     as grpo, with clip_low 3e-4 and clip_high 4e-4
  loss.name = "kimi"
  loss.tau = 0.4  # weight of (τ/2)ρ² and temperature of "softmax"
  loss.clip_low = 0.2  # ratio clipping of the ratio-based losses
  loss.clip_high = 0.28
  loss.max_sampler_ratio = 0.0  # truncated importance sampling; 0 is off
  return loss


def _optimizer() -> ConfigDict:
  optimizer = ConfigDict()
  optimizer.learning_rate = 2e-6
  optimizer.b1 = 0.9
  optimizer.b2 = 0.95
  optimizer.eps = 1e-8
  optimizer.weight_decay = 0.0
  optimizer.clip_norm = 1.0  # global norm of the gradient; 0 is off
  optimizer.reset = True  # fresh state at the start of each iteration
  # Keep Adam's moments in the host's memory, for 8 bytes less per parameter
  # on the devices while gradients are computed.
  optimizer.offload = False
  return optimizer


def _train() -> ConfigDict:
  train = ConfigDict()
  train.num_iterations = 100
  train.num_problems = 1000  # N, problems in flight
  train.num_per_problem = 8  # k, rollouts per problem
  # Share of false statements among them; a checker that accepts a proof of one
  # stops the run.
  train.canary_share = 0.005
  train.num_minibatches = 8  # optimizer steps per iteration
  train.sequence_len = 32768  # T, tokens per packed row
  train.rows_per_batch = 8  # B of the log-prob pass, and what B is padded to
  # Tokens that an iteration samples, give or take two dispatches; rollouts that
  # are not finished by then go on in the next one (partial rollouts), which
  # begins that many problems fewer. 0 finishes all.
  train.tokens_per_iteration = 0
  # Learn from all tokens of a rollout that was carried over; else only from
  # those of the iteration in which it ended.
  train.learn_from_carried = False
  return train


def _sft() -> ConfigDict:
  sft = ConfigDict()
  # (source, weight) pairs: "arithmetic", a JSONL file of demonstrations
  # (problems/demonstrations.py shows its format), or a rollouts.jsonl of a run
  # (its proved rollouts).
  sft.sources = (("arithmetic", 1.0),)
  # Of a run's rollouts, only those that the second verifier confirmed (see
  # checker.second_command; its second_share must be 1 to have them all).
  sft.confirmed_only = False
  sft.num_examples = 20_000  # demonstrations per epoch
  sft.num_epochs = 3
  sft.rows_per_batch = 32  # B
  sft.sequence_len = 4096  # T
  sft.learning_rate = 2e-5  # peak of the cosine
  sft.warmup_fraction = 0.03
  sft.weight_decay = 0.0
  sft.save_every = 200  # steps
  sft.log_every = 10  # steps
  # Generated demonstrations: probability that the proof is the right one;
  # otherwise a plausible wrong one. The cold start teaches the pattern.
  sft.skill = 0.25
  return sft


def _eval() -> ConfigDict:
  evaluation = ConfigDict()
  evaluation.every = 10  # iterations between evaluations; 0 never
  evaluation.num_samples = 8  # rollouts per problem
  evaluation.ks = (1, 8)  # pass@k to report
  return evaluation


def _checkpoint() -> ConfigDict:
  checkpoint = ConfigDict()
  checkpoint.every = 1  # iterations of RL between saves
  checkpoint.max_to_keep = 3
  return checkpoint
