"""Every key of an experiment, its default, and what it means.

An experiment is a file beside this one, or anywhere else, that starts from
`common.get_config()` and changes what differs; keys on the command line
(`--config.train.num_problems=64`) override it. The defaults are those of the
papers where they state them (Kimina-Prover Preview, arXiv 2504.11354; Kimi
k1.5, arXiv 2501.12599), but for lengths, which fit the debug model; rl_72b.py
has those of the paper.

Each section becomes one record (pipeline/experiment.py), which checks its
numbers. pipeline/resume_policy.py lists which keys may change when a run is
resumed: those that belong to the machine, and not those that change results.
Letters are those of docs/architecture.md.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
  """The default experiment; a key that is not here is an error."""
  if arg:
    raise ValueError(f"configs/common.py takes no argument, got {arg!r}")
  config = ConfigDict()
  config.seed = 0  # of all random numbers
  # Run or model directory with the first weights; "" starts from random ones.
  config.init_from = ""
  # "embedded", a SentencePiece .model file, or a directory with a Hugging
  # Face tokenizer.
  config.tokenizer = "embedded"
  # Kind of prompt: "kimina", the prompt of the Kimina-Prover models.
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
  config.metrics = _metrics()
  return config.lock()


def use_lean(config: ConfigDict, *, num_workers: int) -> None:
  """Checks the experiment's proofs with a Lean REPL instead of minilean.

  Args:
    config: changed in place. Its `checker.command` and `checker.lean_path` are
      still to be set, to the two lines that launch/install_lean.sh prints.
    num_workers: proofs that each host checks at once, each in a process of its
      own with the imports loaded.
  """
  config.checker.backend = "repl"
  config.checker.num_workers = num_workers
  config.checker.num_standby = 4
  config.checker.max_imports = 4


def _model() -> ConfigDict:
  model = ConfigDict()
  # "debug", "qwen2.5-0.5b", "-1.5b", "-3b", "-7b", "-14b", "-32b" or "-72b".
  model.name = "debug"
  model.param_dtype = "float32"  # master weights
  model.compute_dtype = "bfloat16"  # activations and matrix products
  # What the backward pass recomputes instead of keeping (rematerialization):
  # "none"; "full": all of a layer but its input; "save_attention": all but
  # attention's output; "save_projections": all but matrix products; "offload":
  # as "full", with the layers' inputs in the host's memory.
  model.remat = "full"
  # Attention kernel of training: "auto", "splash" (TPU), "cudnn" (GPU), "xla".
  model.attention = "auto"
  # Context extension by YaRN, as a multiple of the positions that the weights
  # were trained for; 1 is off.
  model.yarn_factor = 1.0
  return model


def _mesh() -> ConfigDict:
  mesh = ConfigDict()
  # Devices along each axis of the training mesh; at most one is -1, which
  # stands for the devices that the others leave.
  mesh.data = 1  # replicas of the weights; the only axis across TPU slices
  mesh.fsdp = -1  # splits the weights and the rows of a batch
  mesh.context = 1  # splits the weights and the positions of a row
  mesh.tensor = 1  # splits heads, feed-forward units and the vocabulary
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
  # Devices of one replica of the sampler, which hold one copy of the weights
  # together: a divisor or a multiple of the devices of a process. All devices
  # of the mesh are cut into such replicas.
  rollouts.tensor = 1
  rollouts.max_prompt_len = 512  # tokens; longer problems are left out
  rollouts.max_response_len = 1536  # tokens; also the loss's constant L
  rollouts.temperature = 1.0  # 0 takes the most likely token
  # Of the next three, a value other than the default cuts the distribution
  # that is sampled from, which biases the losses without a sampler ratio.
  rollouts.top_p = 1.0  # probability mass of the nucleus
  rollouts.top_k = 0  # number of tokens to keep; 0 keeps all
  rollouts.min_p = 0.0  # least probability, relative to the largest
  rollouts.stop_strings = ()  # texts that end a response, besides <|im_end|>
  # A response ends when this many tokens repeat with a period of at most 64; 0
  # turns the detection off.
  rollouts.repetition_window = 1024
  # Decode slots: sequences decoded at once, over all replicas.
  rollouts.num_slots = 64
  rollouts.steps_per_dispatch = 16  # decode steps of one program call
  rollouts.page_size = 64  # positions of a page of the KV cache
  # Positions of a replica's KV cache, for all its sequences together; 0 makes
  # room for the longest sequence in every slot.
  rollouts.cache_tokens = 0
  # Dtype of the KV cache: "auto" (compute_dtype), "float32", "bfloat16", "int8"
  # or "float8_e4m3fn".
  rollouts.cache_dtype = "auto"
  # Prompt tokens that are computed along with a decode step (chunked prefill).
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
  # Format gate: least share of the final proof's lines that must occur in the
  # tactics blocks of the reasoning.
  reward.min_coverage = 0.6
  # Reward of a response that fails the format gate: "zero", or "exclude" it
  # from its group.
  reward.format_failure = "zero"
  # Likewise for a response that was cut at its longest or repeated itself.
  reward.truncated = "zero"
  return reward


def _advantage() -> ConfigDict:
  advantage = ConfigDict()
  # Baseline of a group: "mean" (of all k, self included), "softmax" (τ log
  # mean exp(r/τ)), "leave_one_out" (RLOO) or "standardized" (GRPO).
  advantage.baseline = "mean"
  advantage.length_penalty = False  # add the length reward of Kimi k1.5
  # ω, probability that a sample with a negative advantage is dropped.
  advantage.drop_negative = 0.5
  return advantage


def _loss() -> ConfigDict:
  loss = ConfigDict()
  # kimi, reinforce, grpo, dr_grpo, dapo, gspo or cispo. The name stands for the
  # loss alone; a method needs other keys besides:
  #   RLOO     reinforce, advantage.baseline leave_one_out, drop_negative 0
  #   GRPO     grpo, baseline standardized, drop_negative 0, clip_high 0.2
  #   DAPO     dapo, baseline standardized, drop_negative 0
  #   GSPO     as GRPO, with gspo, clip_low 3e-4 and clip_high 4e-4
  loss.name = "kimi"
  loss.tau = 0.4  # weight of (τ/2)ρ², and τ of the baseline "softmax"
  loss.clip_low = 0.2  # importance ratios are clipped below 1 − clip_low
  loss.clip_high = 0.28  # and above 1 + clip_high
  # Upper bound of π_old / π_sampler per token (truncated importance sampling);
  # 0 is off.
  loss.max_sampler_ratio = 0.0
  return loss


def _optimizer() -> ConfigDict:
  optimizer = ConfigDict()  # AdamW
  optimizer.learning_rate = 2e-6  # constant
  optimizer.b1 = 0.9  # decay of the first moment
  optimizer.b2 = 0.95  # decay of the second moment
  optimizer.eps = 1e-8  # added to the denominator
  optimizer.weight_decay = 0.0  # decoupled; 0 is off
  optimizer.clip_norm = 1.0  # largest global norm of the gradient; 0 is off
  optimizer.reset = True  # start each iteration with fresh moments
  # Keep the moments in the host's memory while gradients are computed, which
  # frees 8 bytes per parameter on the devices.
  optimizer.offload = False
  return optimizer


def _train() -> ConfigDict:
  train = ConfigDict()
  train.num_iterations = 100
  train.num_problems = 1000  # problems in flight in each iteration
  train.num_per_problem = 8  # k, rollouts of each problem, at least 2
  # Share of false statements (canaries) among the problems, from 0 to 1; a run
  # stops when the checker accepts a proof of one.
  train.canary_share = 0.005
  train.num_minibatches = 8  # optimizer updates per iteration
  # Packing, which results do not depend on (but for the order of sums).
  train.sequence_len = 4096  # T, tokens of a packed row
  train.rows_per_batch = 8  # B, packed rows of a batch
  # Partial rollouts: about how many tokens an iteration samples (within two
  # dispatches). Unfinished rollouts continue in the next iteration, which
  # begins that many problems fewer. 0 finishes all rollouts.
  train.tokens_per_iteration = 0
  # Partial rollouts: learn from all tokens of a rollout; else only from those
  # of the iteration in which it ended.
  train.learn_from_carried = False
  return train


def _sft() -> ConfigDict:
  sft = ConfigDict()
  # (source, weight) pairs. A source is "arithmetic", a JSONL file of
  # demonstrations (problems/demonstrations.py shows its format), or the
  # rollouts.jsonl of a run, whose proved rollouts are used.
  sft.sources = (("arithmetic", 1.0),)
  # Of a run's rollouts, use only those that the second verifier confirmed (see
  # checker.second_command; second_share must be 1 to have them all).
  sft.confirmed_only = False
  sft.num_examples = 20_000  # demonstrations per epoch
  sft.num_epochs = 3
  sft.rows_per_batch = 32  # B, packed rows of a batch, which is one update
  sft.sequence_len = 4096  # T, tokens of a packed row
  sft.learning_rate = 2e-5  # peak of the cosine schedule
  sft.warmup_fraction = 0.03  # share of the updates in which the rate rises
  sft.weight_decay = 0.0
  sft.save_every = 200  # updates between checkpoints
  sft.log_every = 10  # updates between rows of metrics
  # Generated demonstrations: probability that the proof is right; otherwise it
  # is a plausible wrong one. The cold start teaches the pattern alone.
  sft.skill = 0.25
  return sft


def _eval() -> ConfigDict:
  evaluation = ConfigDict()
  # RL: iterations between evaluations; 0 evaluates at the end alone.
  evaluation.every = 10
  evaluation.num_samples = 8  # n, rollouts of each held-out problem
  evaluation.ks = (1, 8)  # the k of each pass@k that is reported, at most n
  return evaluation


def _checkpoint() -> ConfigDict:
  checkpoint = ConfigDict()
  checkpoint.every = 1  # iterations of RL between checkpoints
  checkpoint.max_to_keep = 3  # newest checkpoints; older ones are deleted
  return checkpoint


def _metrics() -> ConfigDict:
  metrics = ConfigDict()
  # Besides metrics.jsonl and the display: TensorBoard files in the run's
  # directory, and a project of Weights & Biases ("" for none; it needs
  # pip install 'kimina_jax[wandb]' and what `wandb login` stores).
  metrics.tensorboard = True
  metrics.wandb_project = ""
  return metrics
