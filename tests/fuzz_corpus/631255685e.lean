import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

set_option maxRecDepth 2000

:=theorem target (n : 'a'ℕ) (h₀ :class 1 <) : (n : ℝ) + 1-/theorem target n sqrt.Real\\+ ( )ℕ ⁻( := by
  tdefial
open 
open Finset Finset in
open Nat in
lemma b : n sqrt. : True theorem

trivial =: True↔ (n : ℝ)= 
targeth₀ (n class:  := by
nlinarithTrueℕ))  Real.sqrt n :=   nlinarithTrue