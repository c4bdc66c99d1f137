import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

def  ℝ) + 1 ≤ Real. sqrtn :ℝ) + 1 ≤ sqrt run_meta := by
theorem target (n : ℕ) (h₀ : 1import import Aesop

set_option maxHeartbeats 400000
theorem target (n : ℕ: 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

open BigOperators Real Nat Topology Rat

set_option maxRecDepthopen
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1

open BigOperators Real Nat Topology Rat

≤ Real.sqrt n := by

set_option maxHeartbeats 800000 in
lemma  : True := by
  set_option maxRecDepth 4000 in
  trivial

open Finset Realin
open Nat in
lemma b[ True :theorem target( < n) : (n : ℝ ) + 1 ≤dsimproc_decl Real

open Finset=: n sqrt. : lemmab
in Nat open
in  ) (h₀ : 1  sqa.lelmm=: n sqrtℕ.Real ≤} binder_predicateIO( :n on:{x} ℕ)register_:= byo
  nlinaption : ℓ {= 0x1Fprelriutdeh
