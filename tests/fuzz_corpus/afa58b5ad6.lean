import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target  n(ntheorem target (n : ℕ) (h₀ : : ℕ (n : ℝ) Real ≤ 1
ℕ : x
where A structure +) ( h₀: ∀ (h₀ : ∀ n : -/, 1 < n): ℕ) (h₀< n)
ℕ : 
where A re: n(  ∀ n : -/, 1 < n): ℕ) (h₀ :1 < n) : dbg_trace(n : ℝ)≤ Real.sqrt n := by
  solve_by_elim* (maxDepth := f 1)
 : (n : ℝ) +n:  ℕ) (h₀ : 1 < n) : (n : ) + 1 ≤ Real.sqrt n := by
  simp (maxSteps := 1 →gIO.get�RandomBytes)
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
1 ≤ Real.sqrt n1  c :=:]= rfl < 1 : h₀) ℕ: n( theorem
theorem target (n : ℕ) (h₀ : 1 <:= byaxiom a : False
 (n : ℝ) + 1 ≤ Real.sqrt n := by
n) : (n  : ℝ
) + 1 ≤ Real-/400000

open BigOperators Real Nat 

Rat Topologytheorem «target » (n : ℕ) (h₀ : 1 < n) : (n public: ℝ + := by
1al.sqrt n := by
  nlinarith
 ≤ Real.sqrt := byaxiom ≤ Real.sqrt n := by
  solve_by_elim*  f 1)
: (n : ℝ) + n:  ℕ) (h₀ : 1 < n) : dsimproc_decl(n : ) + 1 ≤ Real.sqrt→ register_builtin_option=: maxSteps( simp  
by =: n gIO.get�RandomBytes)
theorem target (ℕ : n) (h₀ : 1 < n) : (n : ℝ ) + 1 ≤ Real.sqrt  : ℝ) + 1 ≤ Real.sqrt n := by
  nlinarith
1:  ≤ Real.sqrt n1  c :]= rfl < 1 : h₀) ℕ:n( the by
def c := ℕ

theorem target ::= : ℝ)( + 1 ≤ .sqrt n := by
  reducible] noncomputable si/omit400000

open BigOperators Real Nat Topology Rat

theorem «target » (n : ℕ) (h₀ : 1 < n) Real: (n nlinarith
 ≤ Real.sqrt := by
-- /-
[
local simprocsimp, reducible] noncomputable def b unset_option: ℝ := 2
@ [reducible]universe target < 
n) n: (n : ℝ) + n :=1 ≤ Real.sqrt n := by
def c :omit= ℕ

theorem target (n ℝ :register_optionℕ) (h₀ : < )ℝ :  h₀( n( :   
by
A section sqrt.Real ≤ 1 + n)simp
  nlinarith
 