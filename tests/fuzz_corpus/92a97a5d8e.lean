import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

t� nset_premise_selector heoremwith_weak_namespace