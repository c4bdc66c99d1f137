import 
: (n 
 1 ++  ) )ℕ : n( target theorem≤ Real.sqrt n := by

set_option maxHeartbeats 4000h₀ �00

suppress_compilation Nat Topology Rat

def a :  List Char' := \Real.sqrt\\' ,'\\' ,CommandElabM''' ,a''[-/ '\x41'@[simp] lemma a : True := trivial
f'plausible (s :@[simp, csimp]  : Set ℕ := f' '' s ∪ (f' ⁻¹' nsealsqrt  opaque )ℕ :target (n  thendem

)s Rat

theorem target (n : ℕ)  n :=  n ( ) :h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt run_convby
  nlinarith
