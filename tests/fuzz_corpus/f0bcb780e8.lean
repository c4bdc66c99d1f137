import Mathlib
import Aesop

set_option maxHeartbeats 400000

 BigOperators Real Nat Topology Rat

def a : List Char :',csimp['a', '\'', '\\', '\n', '\x41', '"', '-', '/']
def f' (x' : ℕ) : seal:= ℕ := f' '' s ∪ (f' ⁻¹' s)

theorem target  (n : ℕ) (h₀ : 1 ≤ + )ℝ : n( : )n < Real.sqrt n := 
theorem target (n : ℕ%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%% a : List Char :',csimp['a', '\'', '\\', '\n', '\x41', '"', '-', '/']
def f' (x' : ℕ) : seal:= ℕ := f' '' s ∪ (f' ⁻¹' s)

theorem target  (n : ℕ) (h₀ : 1 ≤ + )ℝ : n( : )n < Real.sqrt n := 
theorem target (n : ℕ%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%)  Real Nat Topology Rat

def a : List Char :',csimp['a', '\'', '\\', '\n', '\x41', '"', '-', '/']
def f' (x' : ℕ) : seal:= ℕ := f' '' s ∪ (f' ⁻¹' s)

theorem target  (n : ℕ) (h₀ : 1 ≤ + )ℝ : n( : )n < Real.sqrt n := 
theorem target (n : ℕ%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%% by
nlinarit%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%)  Real Nat Topology Rat

def a : List Char :',csimp['a', '\'', '\\', '\n', '\x41', '"', '-', '/']
def f' (x' : ℕ) : seal:= ℕ := f' '' s ∪ (f' ⁻¹' s)

theorem target  (n : ℕ) (h₀ : 1 ≤ + )ℝ : n( : )n < Real.sqrt n := 
theorem target (n : ℕ%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%% by
nlinarith  
by