import Mathlib
artbeats 400000

open BigOperators Real HeartbNat Topology Rat

theorem tea